// What is done with the samples of all series together: topk, bottomk, and comparisons with a number.
import type { SampleOp, SecondStage, Static } from '../../ast.ts';
import type { LabelPool } from './label-pool.ts';
import { compareTies, type ResultSeries } from './result-series.ts';

const NANOS_PER_SECOND = 1e9;

export function applySecondStage(
  series: readonly ResultSeries[],
  stage: SecondStage,
  pool: LabelPool,
): ResultSeries[] {
  const kept =
    stage.kind === 'rank' ? ranked(series, stage, pool) : compared(series, stage.op, numberOf(stage.value));
  return kept.filter(({ values }) => values.some((value) => value === value));
}

function numberOf(value: Static): number {
  if (value.type === 'duration') return Number(value.value) / NANOS_PER_SECOND;
  return value.type === 'nil' ? Number.NaN : Number(value.value);
}

function compared(series: readonly ResultSeries[], op: SampleOp, limit: number): ResultSeries[] {
  return series.map((one) => ({
    ...one,
    values: one.values.map((value) => (passes(value, op, limit) ? value : Number.NaN)),
  }));
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

/** For each interval the samples of the `limit` series that are first. */
function ranked(
  series: readonly ResultSeries[],
  { name, limit }: Extract<SecondStage, { kind: 'rank' }>,
  pool: LabelPool,
): ResultSeries[] {
  if (series.length <= limit) return [...series];
  const sign = name === 'topk' ? -1 : 1;
  const kept = series.map((one) => ({
    ...one,
    values: new Float64Array(one.values.length).fill(Number.NaN),
  }));
  const intervals = series[0]?.values.length ?? 0;
  for (let interval = 0; interval < intervals; interval++) {
    const order: number[] = [];
    series.forEach(({ values }, i) => {
      if (values[interval] === values[interval]) order.push(i);
    });
    order.sort(
      (a, b) =>
        sign *
        (series[a]!.values[interval]! - series[b]!.values[interval]! ||
          compareTies(series[a]!, series[b]!, pool)),
    );
    for (const i of order.slice(0, limit)) kept[i]!.values[interval] = series[i]!.values[interval]!;
  }
  return kept;
}
