// What is done with the samples of all series together: topk, bottomk, and comparisons with a number.
import type { SampleOp, SecondStage, Static } from '../../ast.ts';
import type { Check } from './check.ts';
import type { LabelPool } from './label-pool.ts';
import { ranked } from './ranked.ts';
import type { ResultSeries } from './result-series.ts';

const NANOS_PER_SECOND = 1e9;

export function applySecondStage(
  series: readonly ResultSeries[],
  stage: SecondStage,
  pool: LabelPool,
  check: Check,
): ResultSeries[] {
  const kept =
    stage.kind === 'rank'
      ? ranked(series, stage, pool, check)
      : compared(series, stage.op, numberOf(stage.value), check);
  return kept.filter(({ values }) => {
    check(values.length);
    return values.some((value) => value === value);
  });
}

function numberOf(value: Static): number {
  if (value.type === 'duration') return Number(value.value) / NANOS_PER_SECOND;
  return value.type === 'nil' ? Number.NaN : Number(value.value);
}

function compared(
  series: readonly ResultSeries[],
  op: SampleOp,
  limit: number,
  check: Check,
): ResultSeries[] {
  return series.map((one) => {
    check(one.values.length);
    return { ...one, values: one.values.map((value) => (passes(value, op, limit) ? value : Number.NaN)) };
  });
}

function passes(value: number, op: SampleOp, limit: number): boolean {
  switch (op) {
    case '=':
      return value === limit;
    case '!=':
      return value !== limit;
    case '<':
      return value < limit;
    case '<=':
      return value <= limit;
    case '>':
      return value > limit;
    case '>=':
      return value >= limit;
  }
}
