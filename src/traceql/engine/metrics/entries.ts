// Which entry of a field's vector each of some spans has. Of several (arrays, events, links) the first
// counts.
import type { FieldRef } from '../../ast.ts';
import { ownerOf, storedFields } from '../fields.ts';
import { type Rows, type Scan, UP } from '../scan.ts';
import type { Field, Vector } from '../../source.ts';

/** Values of one stored field for some spans. */
export interface SpanEntries {
  readonly vector: Vector;
  /** For each of the spans its entry; -1 = none. */
  readonly entries: Int32Array;
}

/** One for each scope that a reference may mean, in the order in which they count; empty ones left out. */
export async function entriesOf(
  scan: Scan,
  ref: FieldRef,
  spans: Int32Array,
  rows: Rows | undefined,
): Promise<SpanEntries[]> {
  const found: SpanEntries[] = [];
  for (const field of storedFields(ref)) {
    const vector = await scan.vector(field, rows);
    if (vector.count > 0) found.push({ vector, entries: await fieldEntries(scan, field, vector, spans) });
  }
  return found;
}

export async function fieldEntries(
  scan: Scan,
  field: Field,
  vector: Vector,
  spans: Int32Array,
): Promise<Int32Array> {
  const owner = ownerOf(field);
  const up = UP[owner];
  if (up !== undefined) return ofOwners(vector, await scan.relation(up), spans);
  if (owner === 'span') return ofSpans(vector, spans);
  return ofChildren(vector, await scan.relation(owner === 'event' ? 'eventSpan' : 'linkSpan'), spans);
}

/** The entries of what the spans point at. */
function ofOwners(vector: Vector, relation: Int32Array, spans: Int32Array): Int32Array {
  const first = firstEntries(vector);
  const entries = new Int32Array(spans.length);
  for (let k = 0; k < spans.length; k++) {
    const owner = relation[spans[k]!]!;
    entries[k] = owner < first.length ? first[owner]! : -1;
  }
  return entries;
}

function firstEntries({ owners, count }: Vector): Int32Array {
  const first = new Int32Array(owners === undefined ? count : owners[count - 1]! + 1).fill(-1);
  for (let entry = count - 1; entry >= 0; entry--)
    first[owners === undefined ? entry : owners[entry]!] = entry;
  return first;
}

function ofSpans({ owners, count }: Vector, spans: Int32Array): Int32Array {
  const entries = new Int32Array(spans.length);
  if (owners === undefined) {
    for (let k = 0; k < spans.length; k++) entries[k] = spans[k]! < count ? spans[k]! : -1;
    return entries;
  }
  let entry = 0;
  for (let k = 0; k < spans.length; k++) {
    const span = spans[k]!;
    while (entry < count && owners[entry]! < span) entry++;
    entries[k] = entry < count && owners[entry] === span ? entry : -1;
  }
  return entries;
}

/** The entries of events or links, which are in the order of their spans. */
function ofChildren({ owners, count }: Vector, spanOf: Int32Array, spans: Int32Array): Int32Array {
  const entries = new Int32Array(spans.length);
  let entry = 0;
  for (let k = 0; k < spans.length; k++) {
    const span = spans[k]!;
    while (entry < count && spanOf[owners === undefined ? entry : owners[entry]!]! < span) entry++;
    const isOwn = entry < count && spanOf[owners === undefined ? entry : owners[entry]!] === span;
    entries[k] = isOwn ? entry : -1;
  }
  return entries;
}
