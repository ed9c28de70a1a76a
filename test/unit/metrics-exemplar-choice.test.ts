// Which spans become exemplars does not depend on how many traces are looked at together.
import t from 'tap';
import {
  type Candidates,
  type Chosen,
  ExemplarChoice,
} from '../../src/traceql/engine/metrics/exemplar-choice.ts';
import { Chance } from '../support/fuzz.ts';

const INTERVALS = 60;
const SLICES = 20;
const PER_SLICE = 3;
const SLICING = {
  sliceOf: Int32Array.from({ length: INTERVALS }, (_, interval) =>
    Math.floor((interval * SLICES) / INTERVALS),
  ),
  perSlice: PER_SLICE,
  limits: new Float64Array(SLICES).fill(Number.POSITIVE_INFINITY),
};

const SEED = Number(process.env['EXEMPLAR_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

interface Trace {
  readonly id: Uint8Array;
  /** Interval and offset of each span. */
  readonly spans: readonly { readonly interval: number; readonly offset: number; readonly isOut: boolean }[];
}

/** Nearly all spans are in few intervals, so that some slices have one trace, and some none. */
function randomTraces(chance: Chance, count: number): Trace[] {
  return Array.from({ length: count }, () => ({
    id: Uint8Array.from({ length: 16 }, () => chance.below(256)),
    spans: Array.from({ length: 1 + chance.below(6) }, () => {
      const interval = chance.once(400) ? chance.below(INTERVALS - 6) : 10 + chance.below(12);
      return { interval, offset: interval * 1e10 + chance.below(1e9), isOut: chance.once(10) };
    }),
  }));
}

function candidatesOf(traces: readonly Trace[]): Candidates {
  const all = traces.flatMap(({ spans }, trace) => spans.map((span) => ({ ...span, trace })));
  return {
    timed: {
      spans: Int32Array.from(all, (_, i) => i),
      intervals: Int32Array.from(all, ({ interval }) => interval),
      offsets: Float64Array.from(all, ({ offset }) => offset),
    },
    spanTrace: Int32Array.from(all, ({ trace }) => trace),
    rows: Int32Array.from(all, ({ isOut }) => (isOut ? -1 : 0)),
    ids: Uint8Array.from(traces.flatMap(({ id }) => [...id])),
  };
}

interface Named {
  readonly slice: number;
  readonly priority: number;
  readonly offset: number;
}

function named(chosen: readonly Chosen[], { timed }: Candidates): Named[] {
  return chosen.map(({ k, priority }) => ({
    slice: SLICING.sliceOf[timed.intervals[k]!]!,
    priority,
    offset: timed.offsets[k]!,
  }));
}

function lowestOfEach(all: readonly Named[]): Named[] {
  const kept = Array.from({ length: SLICES }, (_, slice) =>
    all
      .filter((one) => one.slice === slice)
      .sort((a, b) => a.priority - b.priority)
      .slice(0, PER_SLICE),
  );
  return kept.flat();
}

await t.test('many traces at once give what a few at a time give together', (t) => {
  t.comment(`EXEMPLAR_SEED=${SEED}`);
  const chance = new Chance(SEED);
  for (let round = 0; round < 10; round++) {
    const traces = randomTraces(chance, 12_000);
    const whole = candidatesOf(traces);
    const once = lowestOfEach(named(new ExemplarChoice(whole, SLICING).made(), whole));
    const parts: Named[] = [];
    for (let at = 0; at < traces.length; at += 500) {
      const part = candidatesOf(traces.slice(at, at + 500));
      parts.push(...named(new ExemplarChoice(part, SLICING).made(), part));
    }
    t.same(once, lowestOfEach(parts));
    t.ok(new Set(once.map(({ slice }) => slice)).size > 8, 'rare slices have theirs');
  }
  t.end();
});

await t.test('a slice that is full takes only lower priorities', (t) => {
  const candidates = candidatesOf(randomTraces(new Chance(SEED), 3000));
  const free = new ExemplarChoice(candidates, SLICING).made();
  const worst = Math.max(...free.map(({ priority }) => priority));
  const limits = new Float64Array(SLICES).fill(worst);
  const limited = new ExemplarChoice(candidates, { ...SLICING, limits }).made();
  t.same(
    limited,
    free.filter(({ priority }) => priority < worst),
  );
  t.end();
});
