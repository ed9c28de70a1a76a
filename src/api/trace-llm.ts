// A trace in the short JSON for language models: hex ids, attributes as plain objects with sorted keys,
// durations, no empty parts. Made of the JSON that src/api/trace-json.ts writes.
import { hexOfBytes } from '../model/ids.ts';
import type {
  JsonAttribute,
  JsonEvent,
  JsonLink,
  JsonResourceSpans,
  JsonScopeSpans,
  JsonSpan,
  JsonValue,
} from './json-shapes.ts';
import { resourceSpansJson } from './trace-json.ts';

const SERVICE_NAME = 'service.name';
const NANOS_PER_MILLI = 1e6;
const NUMBER_TEXT = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/i;

/** The text of `{"traceId":...,"services":[...]}`. @param trace well-formed TracesData. */
export function traceLlmJson(trace: Uint8Array): string {
  const batches = JSON.parse(resourceSpansJson(trace)) as readonly JsonResourceSpans[];
  const spans = batches.flatMap(({ scopeSpans = [] }) => scopeSpans.flatMap((one) => one.spans ?? []));
  return object([
    ['traceId', text(hex(spans[0]?.traceId ?? ''))],
    ['services', list(batches.map(serviceJson))],
  ]);
}

function serviceJson({ resource = {}, scopeSpans = [] }: JsonResourceSpans): string {
  const { attributes = [] } = resource;
  const service = attributes.find(({ key }) => key === SERVICE_NAME)?.value.stringValue ?? '';
  return object([
    ['serviceName', text(service)],
    ['resource', attributesJson(attributes.filter(({ key }) => key !== SERVICE_NAME))],
    ['scopes', list(scopeSpans.map(scopeJson))],
  ]);
}

function scopeJson({ scope = {}, spans = [] }: JsonScopeSpans): string {
  return object([
    ['name', text(scope.name)],
    ['version', text(scope.version)],
    ['spans', list(spans.map(spanJson))],
  ]);
}

function spanJson(span: JsonSpan): string {
  const { startTimeUnixNano = '0', endTimeUnixNano = '0', status = {} } = span;
  const nanos = BigInt(endTimeUnixNano) - BigInt(startTimeUnixNano);
  const { code = 'STATUS_CODE_UNSET', message = '' } = status;
  return object([
    ['spanId', JSON.stringify(hex(span.spanId ?? ''))],
    ['name', JSON.stringify(span.name ?? '')],
    ['parentSpanId', text(hex(span.parentSpanId ?? ''))],
    ['kind', span.kind === undefined ? '' : JSON.stringify(span.kind)],
    ['startTimeUnixNano', JSON.stringify(startTimeUnixNano)],
    ['endTimeUnixNano', JSON.stringify(endTimeUnixNano)],
    ['durationMs', nanos > 0n ? String(Number(nanos) / NANOS_PER_MILLI) : ''],
    ['attributes', attributesJson(span.attributes)],
    ['events', list((span.events ?? []).map(eventJson))],
    ['links', list((span.links ?? []).map(linkJson))],
    ['status', JSON.stringify({ code, message })],
  ]);
}

function eventJson({ name = '', timeUnixNano = '0', attributes }: JsonEvent): string {
  return object([
    ['name', JSON.stringify(name)],
    ['timeUnixNano', JSON.stringify(timeUnixNano)],
    ['attributes', attributesJson(attributes)],
  ]);
}

function linkJson({ traceId = '', spanId = '', attributes }: JsonLink): string {
  return object([
    ['traceId', JSON.stringify(hex(traceId))],
    ['spanId', JSON.stringify(hex(spanId))],
    ['attributes', attributesJson(attributes)],
  ]);
}

/** Empty when there are none. Of attributes with the same key the last one is shown. */
function attributesJson(attributes: readonly JsonAttribute[] = []): string {
  return attributes.length === 0 ? '' : mapJson(attributes);
}

function mapJson(attributes: readonly JsonAttribute[]): string {
  const byKey = new Map(attributes.map(({ key, value }) => [key, value]));
  const keys = [...byKey.keys()].sort();
  return object(keys.map((key) => [key, valueJson(byKey.get(key)!)]));
}

function valueJson(value: JsonValue): string {
  if (value.stringValue !== undefined) return JSON.stringify(value.stringValue);
  if (value.boolValue !== undefined) return String(value.boolValue);
  if (value.intValue !== undefined) return value.intValue;
  if (value.doubleValue !== undefined) return numberJson(String(value.doubleValue));
  if (value.arrayValue !== undefined) return `[${(value.arrayValue.values ?? []).map(valueJson).join()}]`;
  if (value.kvlistValue !== undefined) return mapJson(value.kvlistValue.values ?? []);
  return value.bytesValue === undefined ? 'null' : JSON.stringify(hex(value.bytesValue));
}

function numberJson(number: string): string {
  return NUMBER_TEXT.test(number) ? number : JSON.stringify(number);
}

function hex(base64: string): string {
  return hexOfBytes(Buffer.from(base64, 'base64'));
}

/** Empty when there is no text. */
function text(value = ''): string {
  return value === '' ? '' : JSON.stringify(value);
}

/** Empty when there are no items. */
function list(items: readonly string[]): string {
  return items.length === 0 ? '' : `[${items.join()}]`;
}

/** Members whose value is empty are left out. */
function object(members: readonly (readonly [key: string, value: string])[]): string {
  const present = members.filter(([, value]) => value !== '');
  return `{${present.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`;
}
