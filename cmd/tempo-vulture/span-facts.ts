// All that is known of a span as one line of text, of what was written and of what was answered: two traces
// are equal when their lines are.
import type { PlainAttributes, PlainValue } from '../../src/model/otlp/plain-fields.ts';
import type { KnownTrace } from './known-trace.ts';

/** The line of each span, by its id in hex. */
export type SpanFacts = ReadonlyMap<string, string>;

/** A trace in the JSON of /api/traces, as far as it is looked at. */
interface AnsweredValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
}

interface AnsweredAttribute {
  readonly key: string;
  readonly value?: AnsweredValue;
}

interface AnsweredSpan {
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name?: string;
  readonly kind?: string;
  readonly startTimeUnixNano?: string;
  readonly endTimeUnixNano?: string;
  readonly attributes?: readonly AnsweredAttribute[];
  readonly events?: readonly {
    readonly timeUnixNano?: string;
    readonly name?: string;
    readonly attributes?: readonly AnsweredAttribute[];
  }[];
  readonly status?: { readonly code?: string };
}

export interface AnsweredTrace {
  readonly batches?: readonly {
    readonly resource?: { readonly attributes?: readonly AnsweredAttribute[] };
    readonly scopeSpans?: readonly { readonly spans?: readonly AnsweredSpan[] }[];
  }[];
}

const KIND_NAMES = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const STATUS_NAMES = ['UNSET', 'OK', 'ERROR'];

export function factsOfKnown(trace: KnownTrace): SpanFacts {
  const facts = new Map<string, string>();
  for (const { resource, spans } of trace.writes.flat()) {
    for (const span of spans) {
      const id = hexOf(span.spanId);
      const events = span.events.map(({ timeMs, name, attributes }) => [
        nanosOf(timeMs),
        name,
        plainPairs(attributes),
      ]);
      facts.set(
        id,
        line([
          hexOf(span.parentId),
          span.name,
          KIND_NAMES[span.kind],
          nanosOf(span.startMs),
          nanosOf(span.endMs),
          STATUS_NAMES[span.status],
          plainPairs(span.attributes),
          events,
          plainPairs(resource),
        ]),
      );
    }
  }
  return facts;
}

export function factsOfAnswer({ batches = [] }: AnsweredTrace): SpanFacts {
  const facts = new Map<string, string>();
  for (const { resource, scopeSpans = [] } of batches) {
    for (const span of scopeSpans.flatMap(({ spans = [] }) => spans)) {
      facts.set(hexOfBase64(span.spanId), answeredLine(span, resource?.attributes));
    }
  }
  return facts;
}

function answeredLine(span: AnsweredSpan, resource: readonly AnsweredAttribute[] | undefined): string {
  const events = (span.events ?? []).map(({ timeUnixNano = '0', name = '', attributes }) => [
    timeUnixNano,
    name,
    answeredPairs(attributes),
  ]);
  return line([
    hexOfBase64(span.parentSpanId ?? ''),
    span.name ?? '',
    (span.kind ?? 'UNSPECIFIED').replace('SPAN_KIND_', ''),
    span.startTimeUnixNano ?? '0',
    span.endTimeUnixNano ?? '0',
    (span.status?.code ?? 'UNSET').replace('STATUS_CODE_', ''),
    answeredPairs(span.attributes),
    events,
    answeredPairs(resource),
  ]);
}

type Pair = readonly [key: string, type: string, value: string];

const line = (parts: readonly unknown[]): string => JSON.stringify(parts);
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const hexOfBase64 = (text: string): string => Buffer.from(text, 'base64').toString('hex');
const nanosOf = (ms: number): string => `${Math.round(ms * 1000)}000`;
const byKey = (a: Pair, b: Pair): number => (a[0] < b[0] ? -1 : 1);

function plainPairs(attributes: PlainAttributes): readonly Pair[] {
  return Object.entries(attributes)
    .map(([key, value]): Pair => [key, typeOf(value), String(value)])
    .toSorted(byKey);
}

function typeOf(value: PlainValue): string {
  if (typeof value !== 'number') return typeof value;
  return Number.isInteger(value) ? 'int' : 'double';
}

function answeredPairs(attributes: readonly AnsweredAttribute[] = []): readonly Pair[] {
  return attributes.map(({ key, value = {} }): Pair => [key, ...answeredValue(value)]).toSorted(byKey);
}

function answeredValue(value: AnsweredValue): [type: string, value: string] {
  if (value.stringValue !== undefined) return ['string', value.stringValue];
  if (value.intValue !== undefined) return ['int', String(value.intValue)];
  if (value.doubleValue !== undefined) return ['double', String(value.doubleValue)];
  if (value.boolValue !== undefined) return ['boolean', String(value.boolValue)];
  return ['none', ''];
}
