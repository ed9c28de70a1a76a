// Series as they are answered, and the order in which they are.
import type { Check } from './check.ts';
import type { Exemplar } from './exemplars.ts';
import { LABEL_TYPE } from './label-value.ts';
import type { LabelPool } from './label-pool.ts';

const NOTHING = new Uint8Array(0);

export interface Label {
  readonly key: string;
  /** Number of the value in the pool. */
  readonly value: number;
}

export interface ResultSeries {
  readonly labels: readonly Label[];
  /** One sample an interval; NaN = none. */
  readonly values: Float64Array;
  readonly exemplars?: readonly Exemplar[];
}

/** By their labels one after another: keys as text, values by type and then by size or as text. */
export function sortSeries<Series extends ResultSeries>(
  series: readonly Series[],
  pool: LabelPool,
  check: Check,
): Series[] {
  return [...series].sort((a, b) => {
    check();
    return compareLabels(a.labels, b.labels, pool);
  });
}

function compareLabels(a: readonly Label[], b: readonly Label[], pool: LabelPool): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const left = a[i]!;
    const right = b[i]!;
    if (left.key !== right.key) return left.key < right.key ? -1 : 1;
    const order = pool.compare(left.value, right.value);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** Bytes as code units. */
function unitsOf(bytes: Uint8Array): string {
  if (bytes.length < 1000) return String.fromCharCode(...bytes);
  let units = '';
  for (let i = 0; i < bytes.length; i++) units += String.fromCharCode(bytes[i]!);
  return units;
}

/**
 * Decides between equal samples for topk and bottomk, as Tempo does: positive when `a` counts as the larger,
 * which is the text that comes first, and of other values the larger one, negative ones above all others.
 */
export function compareTies(a: ResultSeries, b: ResultSeries, pool: LabelPool): number {
  const longest = Math.max(a.labels.length, b.labels.length);
  for (let i = 0; i < longest; i++) {
    const left = a.labels[i];
    const right = b.labels[i];
    if (left?.value === right?.value && left?.key === right?.key) continue;
    const leftBytes = left === undefined ? NOTHING : pool.bytes(left.value);
    const rightBytes = right === undefined ? NOTHING : pool.bytes(right.value);
    const byText = compareBytes(textPart(rightBytes), textPart(leftBytes));
    if (byText !== 0) return byText;
    const byKey = compareUnits(right?.key ?? '', left?.key ?? '');
    if (byKey !== 0) return byKey;
    const byValue = compareUnits(unsigned(unitsOf(leftBytes)), unsigned(unitsOf(rightBytes)));
    if (byValue !== 0) return byValue;
  }
  return 0;
}

function compareUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** A number by its bits, in which the sign counts most. */
function unsigned(value: string): string {
  const type = value.charCodeAt(0);
  const first = value.charCodeAt(1);
  if (type === LABEL_TYPE.int) return value[0]! + String.fromCharCode(first ^ 0x80) + value.slice(2);
  if (type !== LABEL_TYPE.double) return value;
  // Of a negative double all bits are turned around.
  const isNegative = (first & 0x80) === 0;
  let bits = String.fromCharCode(first ^ (isNegative ? 0xff : 0x80));
  for (let i = 2; i < value.length; i++) {
    bits += String.fromCharCode(value.charCodeAt(i) ^ (isNegative ? 0xff : 0));
  }
  return value[0]! + bits;
}

/** Of strings only. */
function textPart(value: Uint8Array): Uint8Array {
  return value[0] === LABEL_TYPE.string ? value.subarray(1) : NOTHING;
}
