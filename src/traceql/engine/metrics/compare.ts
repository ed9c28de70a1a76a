// compare(): how often each value of each attribute occurs among the spans that pass a filter, the selection,
// and among the others, the baseline.
import type { FieldExpr, MetricsStage } from '../../ast.ts';
import { Bitset } from '../../../lib/bitset.ts';
import { printField } from '../../print.ts';
import type { AttributeScope, Intrinsic } from '../../source.ts';
import { ownerOf } from '../fields.ts';
import { filterSpans } from '../filter.ts';
import { OWN_COLUMNS, WELL_KNOWN } from '../own-columns.ts';
import { type Rows, type Scan, UP } from '../scan.ts';
import { entriesOf, fieldEntries } from './entries.ts';
import { type LabelPool, NO_VALUE } from './label-pool.ts';
import type { MetricsRange, TimedSpans } from './range.ts';
import type { SeriesSet } from './series-set.ts';

export type Compare = Extract<MetricsStage, { kind: 'compare' }>;

/** Number of a span's side. */
const BASELINE = 0;
const SELECTION = 1;
const SIDES: readonly string[] = ['baseline', 'selection'];
/** Behind the name of a side: of all values together. */
const TOTAL = '_total';

const SCOPES: readonly AttributeScope[] = ['resource', 'instrumentation', 'span'];
const INTRINSICS: readonly (readonly [Intrinsic, string])[] = [
  ['trace:rootName', 'rootName'],
  ['trace:rootService', 'rootServiceName'],
  ['instrumentation:name', 'instrumentation:name'],
  ['instrumentation:version', 'instrumentation:version'],
  ['span:name', 'name'],
  ['span:kind', 'kind'],
  ['span:status', 'status'],
  ['span:statusMessage', 'statusMessage'],
];

type Ref = Extract<FieldExpr, { kind: 'attribute' | 'intrinsic' }>;

/** Counts the values of all attributes of some spans. */
export class Comparison {
  private readonly stage: Compare;
  private readonly range: MetricsRange;
  private readonly series: SeriesSet;
  /** For each side and value the series, of the attribute at hand; -1 = not asked yet. */
  private rowOf = new Int32Array(0);
  private readonly asked: number[] = [];

  constructor(stage: Compare, range: MetricsRange, series: SeriesSet) {
    this.stage = stage;
    this.range = range;
    this.series = series;
  }

  async add(scan: Scan, timed: TimedSpans, rows: Rows | undefined): Promise<void> {
    const { spans } = timed;
    const side = await this.sidesOf(scan, timed);
    for (const [name, text] of INTRINSICS) {
      const ref: Ref = { kind: 'intrinsic', name, text };
      this.count(
        text,
        named(await this.idsOf(scan, ref, spans, rows), this.series.pool.idOfText('')),
        side,
        timed,
      );
    }
    for (const scope of SCOPES) await this.addScope(scan, scope, side, timed);
  }

  private async addScope(
    scan: Scan,
    scope: AttributeScope,
    side: Uint8Array,
    timed: TimedSpans,
  ): Promise<void> {
    const { pool } = this.series;
    const { spans } = timed;
    const owners = await ownersOf(scan, scope, spans);
    const vectors = await scan.source.attributes(scope, owners, scan.signal);
    const always = [...WELL_KNOWN[scope], ...OWN_COLUMNS[scope]];
    for (const name of new Set([...vectors.keys(), ...always])) {
      const field = { kind: 'attribute', scope, name } as const;
      const vector = vectors.get(name);
      const ids =
        vector === undefined || vector.count === 0
          ? new Int32Array(spans.length)
          : pool.idsOf(vector, await fieldEntries(scan, field, vector, spans));
      if (always.includes(name)) named(ids, pool.nilTextId);
      this.count(printField({ ...field, parent: false }), ids, side, timed);
    }
  }

  private async sidesOf(scan: Scan, { spans, offsets }: TimedSpans): Promise<Uint8Array> {
    const { filter, start, end } = this.stage;
    const all = new Bitset(await scan.spanCount());
    for (let k = 0; k < spans.length; k++) all.add(spans[k]!);
    const selected = await filterSpans(scan, filter, all);
    const isTimed = start > 0n && end > 0n;
    const from = isTimed ? Number(start - this.range.startUnixNano) : -Infinity;
    const to = isTimed ? Number(end - this.range.startUnixNano) : Infinity;
    const side = new Uint8Array(spans.length);
    for (let k = 0; k < spans.length; k++) {
      const isInTime = offsets[k]! > from && offsets[k]! <= to;
      side[k] = isInTime && selected.has(spans[k]!) ? SELECTION : BASELINE;
    }
    return side;
  }

  private async idsOf(scan: Scan, ref: Ref, spans: Int32Array, rows: Rows | undefined): Promise<Int32Array> {
    const [found] = await entriesOf(scan, ref, spans, rows);
    return found === undefined
      ? new Int32Array(spans.length)
      : this.series.pool.idsOf(found.vector, found.entries);
  }

  private count(attribute: string, ids: Int32Array, side: Uint8Array, { intervals }: TimedSpans): void {
    const { series } = this;
    const name = series.pool.idOfText(attribute);
    const sides = SIDES.map((text) => series.pool.idOfText(text));
    const totals = SIDES.map((text) => series.rowOf([series.pool.idOfText(text + TOTAL), name, NO_VALUE]));
    this.reserve(series.pool);
    const { rowOf, asked } = this;
    const rows = new Int32Array(ids.length);
    const totalRows = new Int32Array(ids.length);
    for (let k = 0; k < ids.length; k++) {
      const id = ids[k]!;
      if (id === NO_VALUE) {
        rows[k] = totalRows[k] = -1;
        continue;
      }
      const at = 2 * id + side[k]!;
      let row = rowOf[at]!;
      if (row < 0) {
        row = rowOf[at] = series.rowOf([sides[side[k]!]!, name, id]);
        asked.push(at);
      }
      rows[k] = row;
      totalRows[k] = totals[side[k]!]!;
    }
    for (const at of asked) rowOf[at] = -1;
    asked.length = 0;
    const { cells } = series;
    cells.count(cells.slots(rows, intervals, series.rowCount));
    cells.count(cells.slots(totalRows, intervals, series.rowCount));
  }

  private reserve(pool: LabelPool): void {
    const needed = 2 * pool.count;
    if (needed > this.rowOf.length) this.rowOf = new Int32Array(2 * needed).fill(-1);
  }
}

/** What the spans point at, or they themselves. */
async function ownersOf(scan: Scan, scope: AttributeScope, spans: Int32Array): Promise<Bitset> {
  const up = UP[ownerOf({ kind: 'attribute', scope, name: '' })];
  const relation = up === undefined ? undefined : await scan.relation(up);
  let last = -1;
  for (let k = 0; k < spans.length; k++) last = Math.max(last, relation?.[spans[k]!] ?? spans[k]!);
  const owners = new Bitset(last + 1);
  for (let k = 0; k < spans.length; k++) owners.add(relation?.[spans[k]!] ?? spans[k]!);
  return owners;
}

/** Gives those without a value this one. */
function named(ids: Int32Array, value: number): Int32Array {
  for (let k = 0; k < ids.length; k++) if (ids[k] === NO_VALUE) ids[k] = value;
  return ids;
}
