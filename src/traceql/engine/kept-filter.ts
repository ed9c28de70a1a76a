// What a filter has found in a source is kept: dashboards ask the same every few seconds, and whoever looks
// for something narrows a query down part by part. A bit a span is far less than the columns it came from.
import type { FieldExpr } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import { printField } from '../print.ts';
import type { SourceMemo } from '../source.ts';
import type { Scan } from './scan.ts';
import { isOfSpan } from './span-queries.ts';

/** Evaluates an expression: bits outside `within` mean nothing, the result is the caller's to change. */
type Evaluate = (scan: Scan, expr: FieldExpr, within: Bitset | undefined) => Promise<Bitset>;

/** Longer expressions are not kept. */
const KEY_LENGTH_MAX = 2048;
/** What an entry takes beside its bits and its key. */
const ENTRY_BYTES = 300;
/** Where less of the spans are asked for, the others are not looked at for those who come later. */
const LARGE_SHARE = 1 / 4;
const MARK = {};

/** As `evaluate`, or as it was evaluated before. */
export async function keptFilter(
  scan: Scan,
  expr: FieldExpr,
  within: Bitset | undefined,
  evaluate: Evaluate,
): Promise<Bitset> {
  const { memo, grownMemo } = scan.source;
  const key = expr.kind === 'literal' ? undefined : keyOf(expr);
  if (key === undefined) return evaluate(scan, expr, within);
  if (memo !== undefined) return filterOfFixed(memo, key, { scan, expr, within, evaluate });
  if (grownMemo === undefined || !isOfSpan(expr)) return evaluate(scan, expr, within);
  return filterOfGrown(grownMemo, key, { scan, expr, within, evaluate });
}

interface Asked {
  readonly scan: Scan;
  readonly expr: FieldExpr;
  readonly within: Bitset | undefined;
  readonly evaluate: Evaluate;
}

async function filterOfFixed(memo: SourceMemo, key: string, asked: Asked): Promise<Bitset> {
  const { scan, expr, within, evaluate } = asked;
  const kept = memo.get<Bitset>(key);
  if (kept !== undefined) return kept.clone();
  // of a part of the spans the others are only looked at when that is asked for again
  if (within !== undefined && (!isLarge(within) || isFirstTime(memo, key)))
    return evaluate(scan, expr, within);
  const spans = await evaluate(scan, expr, undefined);
  keep(memo, key, spans);
  return spans.clone();
}

/** Spans that are there never change: only those are looked at that have come since. */
async function filterOfGrown(memo: SourceMemo, key: string, asked: Asked): Promise<Bitset> {
  const { scan, expr, within, evaluate } = asked;
  if (within !== undefined && !isLarge(within)) return evaluate(scan, expr, within);
  const count = await scan.spanCount();
  const kept = memo.get<Bitset>(key);
  const spans = new Bitset(count);
  if (kept !== undefined) spans.or(kept);
  if (kept !== undefined && kept.size >= count) return spans;
  const since = kept === undefined ? undefined : Bitset.full(count).andNot(Bitset.full(kept.size));
  const fresh = await evaluate(scan, expr, since);
  spans.or(since === undefined ? fresh : fresh.and(since));
  keep(memo, key, spans);
  return spans.clone();
}

function keep(memo: SourceMemo, key: string, spans: Bitset): void {
  memo.set(key, spans, spans.words.byteLength + ENTRY_BYTES + 2 * key.length);
}

function isLarge(within: Bitset): boolean {
  return within.count() >= within.size * LARGE_SHARE;
}

function isFirstTime(memo: SourceMemo, key: string): boolean {
  const mark = `1/${key}`;
  if (memo.get(mark) !== undefined) return false;
  memo.set(mark, MARK, ENTRY_BYTES + 2 * key.length);
  return true;
}

function keyOf(expr: FieldExpr): string | undefined {
  const text = printField(expr);
  return text.length > KEY_LENGTH_MAX ? undefined : `filter/${text}`;
}
