// JSON text of results, built by concatenation in the form of protobuf's JSON mapping.
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import type { Static } from '../ast.ts';
import { formatNanos } from '../../lib/duration.ts';

// What JSON.stringify would have to change: quotes, backslashes, control characters and lone surrogates.
const PLAIN = /^[ !#-[\]-\ud7ff\ue000-\uffff]*$/;

export function jsonString(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** The AnyValue of an array. */
export function jsonAnyValues(values: readonly Static[]): string {
  return `{"arrayValue":{"values":[${values.map(jsonAnyValue).join()}]}}`;
}

/** An AnyValue. Statuses, kinds and durations are strings. */
export function jsonAnyValue(value: Static): string {
  switch (value.type) {
    case 'nil':
      return '{"stringValue":"nil"}';
    case 'string':
    case 'status':
    case 'kind':
      return `{"stringValue":${jsonString(value.value)}}`;
    case 'bool':
      return `{"boolValue":${value.value}}`;
    case 'int':
      return `{"intValue":"${value.value}"}`;
    case 'float':
      return `{"doubleValue":${jsonDouble(value.value)}}`;
    case 'duration':
      return `{"stringValue":"${formatNanos(value.value)}"}`;
  }
}

export function jsonDouble(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? '"NaN"' : value > 0 ? '"Infinity"' : '"-Infinity"';
}

export function jsonAttribute(key: string, anyValue: string): string {
  return `{"key":${jsonString(key)},"value":${anyValue}}`;
}

const SPAN_ID_DIGITS = 16;
const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

function hexOf(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += HEX[bytes[i]!]!;
  return text;
}

/** Span ids are shown with leading zeros; the parent of a root, which is empty, is all zeros. */
export function idText(id: Uint8Array): string {
  return id.length === TRACE_ID_BYTES ? traceIdText(id) : hexOf(id).padStart(SPAN_ID_DIGITS, '0');
}

/** Tempo shows trace ids without leading zeros. */
export function traceIdText(id: Uint8Array): string {
  return hexOf(id).replace(/^0+(?=.)/, '');
}
