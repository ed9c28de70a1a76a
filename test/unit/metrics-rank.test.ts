// topk and bottomk over many series: which samples stay, and what it takes to find them.
import t from 'tap';
import { noCheck } from '../../src/traceql/engine/metrics/check.ts';
import { LabelPool } from '../../src/traceql/engine/metrics/label-pool.ts';
import {
  compareTies,
  type ResultSeries,
  sortSeries,
} from '../../src/traceql/engine/metrics/result-series.ts';
import { applySecondStage } from '../../src/traceql/engine/metrics/second-stage.ts';
import { Chance } from '../support/fuzz.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const ROUNDS = 300;

type Name = 'topk' | 'bottomk';

/** As it is defined: in each interval all samples are sorted, equal ones by the labels of their series. */
function sorted(series: readonly ResultSeries[], name: Name, limit: number, pool: LabelPool): number[][] {
  const sign = name === 'topk' ? -1 : 1;
  const kept = series.map(({ values }) => Array.from(values, () => Number.NaN));
  for (const interval of series[0]!.values.keys()) {
    const at = (i: number): number => series[i]!.values[interval]!;
    const order = [...series.keys()].filter((i) => !Number.isNaN(at(i)));
    order.sort((a, b) => {
      const byValue = at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0;
      return sign * (byValue || compareTies(series[a]!, series[b]!, pool)) || a - b;
    });
    for (const i of order.slice(0, limit)) kept[i]![interval] = at(i);
  }
  return kept.filter((values) => values.some((value) => !Number.isNaN(value)));
}

const VALUES = [0, -0, 1, 2, 2.5, -1, Infinity, -Infinity, Number.NaN, Number.NaN, 1e-320];

t.test('of random series the samples that are first stay', (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const pool = new LabelPool();
    const value = (): number =>
      chance.below(2) === 0 ? pool.idOfText(`v${chance.below(4)}`) : pool.idOfDouble(chance.below(5) - 2);
    const intervals = 1 + chance.below(20);
    const made = Array.from({ length: 1 + chance.below(40) }, () => ({
      labels: ['a', 'b'].slice(chance.below(2)).map((key) => ({ key, value: value() })),
      values: Float64Array.from({ length: intervals }, () => VALUES[chance.below(VALUES.length)]!),
    }));
    const series = sortSeries(made, pool, noCheck);
    const name = chance.below(2) === 0 ? 'topk' : 'bottomk';
    const limit = 1 + chance.below(series.length + 3);
    const before = series.map(({ values }) => [...values]);
    const kept = applySecondStage(series, { kind: 'rank', name, limit }, pool, noCheck);
    const found = kept.map(({ values }) => [...values]);
    const wanted = sorted(series, name, limit, pool);
    const isEqual =
      found.length === wanted.length &&
      found.every((values, i) => values.every((one, k) => Object.is(one, wanted[i]![k])));
    if (!isEqual) t.same(found, wanted, `${name}(${limit}), round ${round}`);
    if (!series.every(({ values }, i) => values.every((one, k) => Object.is(one, before[i]![k]))))
      t.fail('the given series were changed');
  }
  t.pass('all rounds');
  t.end();
});

t.test('equal samples are put in order once, not in each interval', (t) => {
  const count = 2000;
  const intervals = 100;
  const pool = new LabelPool();
  const series = Array.from({ length: count }, (_, i) => ({
    labels: [{ key: 'trace:id', value: pool.idOfText(`trace ${(i * 7919) % count}`) }],
    values: Float64Array.from({ length: intervals }, (_, k) => ((i * 31 + k) % 50 === 0 ? 1 : 0)),
  }));
  let looked = 0;
  const bytesOf = pool.bytes.bind(pool);
  pool.bytes = (id) => {
    looked++;
    return bytesOf(id);
  };
  for (const name of ['topk', 'bottomk'] as const) {
    looked = 0;
    const kept = applySecondStage(series, { kind: 'rank', name, limit: 500 }, pool, noCheck);
    const samples = kept.reduce((n, { values }) => n + values.filter((one) => one === one).length, 0);
    t.equal(samples, 500 * intervals);
    t.ok(looked <= 4 * count * Math.log2(count), `${name}: ${looked} labels were looked at`);
  }
  t.end();
});
