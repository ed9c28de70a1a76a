// Series as they are answered, and the order in which they are.
import { compareBytes } from '../entry-test.ts';

export interface Label {
  readonly key: string;
  /** An AnyValue. */
  readonly value: Uint8Array;
}

export interface ResultSeries {
  readonly labels: readonly Label[];
  /** One sample an interval; NaN = none. */
  readonly values: Float64Array;
}

/** By their labels one after another: keys as text, values by type and then by size or as text. */
export function sortSeries(series: readonly ResultSeries[]): ResultSeries[] {
  return [...series].sort(compareLabels);
}

function compareLabels(a: ResultSeries, b: ResultSeries): number {
  const shared = Math.min(a.labels.length, b.labels.length);
  for (let i = 0; i < shared; i++) {
    const left = a.labels[i]!;
    const right = b.labels[i]!;
    if (left.key !== right.key) return left.key < right.key ? -1 : 1;
    const order = compareValues(left.value, right.value);
    if (order !== 0) return order;
  }
  return a.labels.length - b.labels.length;
}

/**
 * Decides between equal samples for topk and bottomk, as Tempo does: positive when `a` counts as the larger,
 * which is the text that comes first, and of other values the larger one.
 */
export function compareTies(a: ResultSeries, b: ResultSeries): number {
  const longest = Math.max(a.labels.length, b.labels.length);
  for (let i = 0; i < longest; i++) {
    const left = a.labels[i];
    const right = b.labels[i];
    const byText = compareBytes(tieText(right), tieText(left));
    if (byText !== 0) return byText;
    const leftKey = left?.key ?? '';
    const rightKey = right?.key ?? '';
    if (leftKey !== rightKey) return leftKey < rightKey ? 1 : -1;
    if (left === undefined || right === undefined) continue;
    const byValue = compareValues(left.value, right.value);
    if (byValue !== 0) return byValue;
  }
  return 0;
}

const NO_TEXT = new Uint8Array(0);

function tieText(label: Label | undefined): Uint8Array {
  return label?.value[0] === STRING_TAG ? bodyOf(label.value) : NO_TEXT;
}

/** Field numbers of AnyValue, with the wire type. */
const STRING_TAG = 0x0a;
const BOOL_TAG = 0x10;
const INT_TAG = 0x18;
const DOUBLE_TAG = 0x21;

function compareValues(a: Uint8Array, b: Uint8Array): number {
  if (a[0] !== b[0]) return a[0]! - b[0]!;
  if (a[0] === INT_TAG || a[0] === DOUBLE_TAG) {
    const left = numberOf(a);
    const right = numberOf(b);
    return left < right ? -1 : left > right ? 1 : 0;
  }
  return compareBytes(bodyOf(a), bodyOf(b));
}

export type LabelValue =
  | { readonly type: 'string'; readonly text: Uint8Array }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'int'; readonly value: bigint }
  | { readonly type: 'double'; readonly value: number };

export function labelValue(bytes: Uint8Array): LabelValue {
  switch (bytes[0]) {
    case BOOL_TAG:
      return { type: 'bool', value: bytes[1] !== 0 };
    case INT_TAG:
      return { type: 'int', value: intOf(bytes) };
    case DOUBLE_TAG:
      return { type: 'double', value: doubleOf(bytes) };
    case STRING_TAG:
      return { type: 'string', text: bodyOf(bytes) };
    default:
      throw new Error('a label is of no known type');
  }
}

function numberOf(bytes: Uint8Array): number | bigint {
  return bytes[0] === INT_TAG ? intOf(bytes) : doubleOf(bytes);
}

function doubleOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(1, true);
}

function intOf(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i > 0; i--) value = (value << 7n) | BigInt(bytes[i]! & 127);
  return BigInt.asIntN(64, value);
}

/** What follows a tag and, of a string, its length. */
function bodyOf(bytes: Uint8Array): Uint8Array {
  let at = 1;
  if (bytes[0] === STRING_TAG) while (bytes[at++]! > 127);
  return bytes.subarray(at);
}
