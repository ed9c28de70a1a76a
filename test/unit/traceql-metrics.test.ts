// Metrics functions over sources: recorded answers of real Tempo, and what one job and several make of the
// same spans.
import t, { type Test } from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import type { RowGroupSource } from '../../src/block/vparquet/row-group.ts';
import { MetricsAccumulator } from '../../src/traceql/engine/metrics/accumulate.ts';
import { parse } from '../../src/traceql/parser.ts';
import { printQuery } from '../../src/traceql/print.ts';
import { staticAt } from '../../src/traceql/engine/value-reader.ts';
import type { AttributeScope, Owner, SpanSource, Vector } from '../../src/traceql/source.ts';
import { Bitset } from '../../src/lib/bitset.ts';
import { validate } from '../../src/traceql/validate.ts';
import { ArraySource } from '../support/array-source.ts';
import { canonical } from '../support/canonical.ts';
import { Chance } from '../support/fuzz.ts';
import { type Golden, goldenAnswers, openGoldenBlock } from '../support/golden-blocks.ts';
import { askSources, type MetricsAsked } from '../support/metrics-script.ts';
import { GOLDEN_DEVIATIONS } from '../support/golden-deviations.ts';
import { START_NANO, aSpan, encodeTraces, hexId, type TestSpan } from '../support/otlp.ts';

const SECOND = 1_000_000_000n;

t.setTimeout(300_000);

/** The series over sources, each of them a job of its own. */
async function ask(asked: MetricsAsked, sources: readonly SpanSource[]): Promise<{ series: unknown[] }> {
  return { series: [...(await askSources(asked, sources))] };
}

/** A recorded request, its range aligned to steps. */
function requested({ request }: Golden): MetricsAsked {
  const url = new URL(request, 'http://tempo');
  const param = (name: string): string => url.searchParams.get(name)!;
  const start = BigInt(param('start')) * SECOND;
  const end = BigInt(param('end')) * SECOND;
  const text = param('q');
  if (url.pathname.endsWith('/query')) {
    return { text, isInstant: true, startUnixNano: start, endUnixNano: end, stepNanos: end - start };
  }
  const step = BigInt(param('step').replace('s', '')) * SECOND;
  const startUnixNano = start - (start % step) - step;
  const endUnixNano = end + ((step - (end % step)) % step);
  return { text, isInstant: false, startUnixNano, endUnixNano, stepNanos: step };
}

/** Numbers to 12 digits: sums are made in another order than Tempo's. */
function rounded(value: unknown): string {
  return JSON.stringify(canonical(value), (_, part: unknown) =>
    typeof part === 'number' ? Number(part.toPrecision(12)) : part,
  );
}

async function headOf(group: RowGroupSource): Promise<HeadSource> {
  const builder = new HeadBuilder({ maxBytes: 256 * 1024 * 1024 });
  const traces = await group.rowTraces(Int32Array.from({ length: group.traceCount }, (_, i) => i));
  builder.append(traces, 0, traces.length);
  return new HeadSource(new HeadReader(builder.sab), 'head');
}

const GOLDENS = [...goldenAnswers('metrics'), ...goldenAnswers('random-metrics')].filter(
  ({ status }) => status === 200,
);

async function compare(t: Test, sources: readonly SpanSource[]): Promise<void> {
  for (const golden of GOLDENS) {
    const got = rounded(await ask(requested(golden), sources));
    const want = rounded(golden.want);
    if (golden.name in GOLDEN_DEVIATIONS) t.not(got, want, `${golden.name}: no deviation any more`);
    else t.equal(got, want, `${golden.name}: ${requested(golden).text}`);
  }
}

for (const name of ['vparquet4', 'vparquet5-2.10', 'vparquet5-3.0']) {
  await t.test(`answers over ${name} as recorded`, { timeout: 300_000 }, async (t) => {
    const { rowGroups } = await openGoldenBlock(name);
    await compare(t, rowGroups);
  });
}

await t.test('answers over a head as recorded', { timeout: 300_000 }, async (t) => {
  const { rowGroups } = await openGoldenBlock('vparquet4');
  await compare(t, await Promise.all(rowGroups.map(headOf)));
});

const SCOPE_OWNERS = {
  span: 'span',
  resource: 'resource',
  instrumentation: 'scope',
  event: 'event',
  link: 'link',
} as const;

await t.test(
  'attributes of some owners are those that single fields have',
  { timeout: 300_000 },
  async (t) => {
    const odd = (await openGoldenBlock('vparquet4-odd')).rowGroups;
    const usual = (await openGoldenBlock('vparquet4')).rowGroups;
    const newer = (await openGoldenBlock('vparquet5')).rowGroups;
    const groups = [...odd, ...usual, ...newer];
    const sources: SpanSource[] = [...groups, ...(await Promise.all(groups.map(headOf)))];
    for (const source of sources) {
      for (const [scope, owner] of Object.entries(SCOPE_OWNERS) as [AttributeScope, Owner][]) {
        const names = await source.attributeNames(scope, undefined);
        const fields = names.map((name) => ({ field: { kind: 'attribute', scope, name } }) as const);
        const whole = await source.load(fields);
        const last = Math.max(-1, ...whole.map((vector) => vector.owners?.at(-1) ?? vector.count - 1));
        for (const step of [1, 3]) {
          const owners = new Bitset(last + 1);
          for (let i = 0; i <= last; i += step) owners.add(i);
          const some = await source.attributes(scope, owners);
          names.forEach((name, i) => {
            const want = entriesShown(whole[i], owners);
            t.equal(entriesShown(some.get(name), owners), want, `${source.name}: ${owner} ${name}`);
          });
        }
      }
    }
  },
);

function entriesShown(vector: Vector | undefined, owners: Bitset): string {
  const shown: string[] = [];
  for (let entry = 0; entry < (vector?.count ?? 0); entry++) {
    const owner = vector!.owners === undefined ? entry : vector!.owners[entry]!;
    const value = staticAt(vector!, entry);
    if (owners.has(owner)) shown.push(`${owner} ${value.type} ${'value' in value ? value.value : ''}`);
  }
  return shown.join('\n');
}

interface WithExemplars {
  readonly labels: readonly { readonly value: object }[];
  readonly samples: readonly { readonly timestampMs: string; readonly value?: number }[];
  readonly exemplars?: readonly {
    readonly labels: readonly { readonly key: string; readonly value: { readonly stringValue: string } }[];
    readonly value?: number;
    readonly timestampMs: string;
  }[];
}

await t.test('intervals are open to the left and closed to the right', async (t) => {
  const startUnixNano = START_NANO - (START_NANO % SECOND);
  // ns behind the start, and the interval that Tempo counts the span in; -1 = none
  const places: readonly (readonly [bigint, number])[] = [
    [-1n, -1],
    [0n, -1],
    [1n, 0],
    [SECOND - 1n, 0],
    [SECOND, 0],
    [SECOND + 1n, 1],
    [2n * SECOND, 1],
    [2n * SECOND + 1n, -1],
  ];
  const spans = places.map(([offset], i) =>
    aSpan({
      traceId: hexId(i + 1, 16),
      name: String(offset),
      startUnixNano: startUnixNano + offset,
      endUnixNano: startUnixNano + offset + 5n * SECOND,
    }),
  );
  const bytes = encodeTraces(spans);
  const builder = new HeadBuilder({ maxBytes: 1 << 24 });
  builder.append(bytes, 0, bytes.length);
  const endUnixNano = startUnixNano + 2n * SECOND;
  const text = '{ } | count_over_time() by (name)';
  for (const source of [new ArraySource(spans), new HeadSource(new HeadReader(builder.sab), 'head')]) {
    const ranged = { text, startUnixNano, endUnixNano, stepNanos: SECOND, isInstant: false };
    const { series } = await ask(ranged, [source]);
    const want = places
      .filter(([, interval]) => interval >= 0)
      .map(([offset, interval]) => `${offset} ${interval === 0 ? '1 0' : '0 1'}`);
    t.same(series.map((one) => shown(one as Shown, startUnixNano)).toSorted(), want.toSorted(), source.name);
    const instant = await ask({ ...ranged, stepNanos: 2n * SECOND, isInstant: true }, [source]);
    t.equal(instant.series.length, want.length, `${source.name}, at once`);
  }
});

await t.test('whether all that matches counted: else the part is of this range only', async (t) => {
  const startUnixNano = START_NANO - (START_NANO % SECOND);
  const range = { startUnixNano, endUnixNano: startUnixNano + 10n * SECOND, stepNanos: SECOND };
  const at = (trace: number, span: number, seconds: bigint, name: string): TestSpan =>
    aSpan({
      traceId: hexId(trace, 16),
      spanId: hexId(span, 8),
      name,
      startUnixNano: startUnixNano + seconds * SECOND,
      endUnixNano: startUnixNano + seconds * SECOND + 1n,
    });
  const within = [at(1, 1, 2n, 'a'), at(1, 2, 3n, 'b')];
  const excludeTraces = new Bitset(1);
  excludeTraces.add(0);
  const cases = [
    { name: 'all within', spans: within, text: '{ }', want: true },
    { name: 'a trace outside', spans: [...within, at(2, 3, 12n, 'a')], text: '{ }', want: false },
    { name: 'only a trace outside', spans: [at(2, 3, 12n, 'a')], text: '{ }', want: false },
    { name: 'a span outside', spans: [...within, at(1, 3, 12n, 'a')], text: '{ }', want: false },
    {
      name: 'all that match outside',
      spans: [...within, at(1, 3, 12n, 'c')],
      text: '{ name = "c" }',
      want: false,
    },
    {
      name: 'what does not match',
      spans: [...within, at(1, 3, 12n, 'c')],
      text: '{ name = "a" }',
      want: true,
    },
    { name: 'no match', spans: within, text: '{ name = "c" }', want: true },
    {
      name: 'a trace counted elsewhere',
      spans: within,
      text: '{ }',
      options: { excludeTraces },
      want: false,
    },
  ];
  for (const { name, spans, text, options, want } of cases) {
    const bytes = encodeTraces(spans);
    const builder = new HeadBuilder({ maxBytes: 1 << 24 });
    builder.append(bytes, 0, bytes.length);
    for (const source of [new ArraySource(spans), new HeadSource(new HeadReader(builder.sab), 'head')]) {
      const query = parse(`${text} | rate()`);
      const job = new MetricsAccumulator(query, range, { cellsMax: 1000, exemplarsMax: 0 });
      await job.add(source, options);
      t.equal(job.areTimely, want, `${name}: ${source.name}`);
      await job.add(new ArraySource(within));
      t.equal(job.areTimely, want, `${name}: whatever else is read`);
    }
  }
});

await t.test('exemplars', async (t) => {
  const startUnixNano = START_NANO - (START_NANO % SECOND);
  const spans = Array.from({ length: 400 }, (_, i) =>
    aSpan({
      traceId: hexId(1 + (i >> 2), 16),
      spanId: hexId(i + 1, 8),
      name: `op-${i % 3}`,
      kind: 1 + (i % 2),
      startUnixNano: startUnixNano + BigInt(i + 1) * 100_000_000n,
      endUnixNano: startUnixNano + BigInt(i + 1) * 100_000_000n + BigInt(i + 1) * 1_000_000n,
    }),
  );
  const range = { startUnixNano, endUnixNano: startUnixNano + 40n * SECOND, stepNanos: 2n * SECOND };
  const source = new ArraySource(spans);
  const of = async (text: string, exemplarsMax: number): Promise<readonly WithExemplars[]> =>
    (await ask({ ...range, text, isInstant: false, exemplarsMax }, [source])).series as WithExemplars[];
  const listed = (series: readonly WithExemplars[]) => series.flatMap(({ exemplars = [] }) => exemplars);
  t.same(listed(await of('{ } | rate()', 0)), []);
  for (const max of [1, 2, 7, 20, 100]) {
    const [rate] = await of('{ } | rate()', max);
    const found = listed([rate!]);
    t.ok(found.length <= max && found.length >= Math.min(20, max) - 1, `${found.length} of ${max}`);
    t.equal(
      new Set(found.map(({ labels }) => labels[0]!.value.stringValue)).size,
      found.length,
      'a trace once',
    );
    for (const { value, timestampMs } of found) {
      const sample = rate!.samples.find((one) => Number(one.timestampMs) >= Number(timestampMs));
      t.equal(value, sample!.value, 'the value of its sample');
    }
  }
  t.ok(listed(await of('{ } | rate()', 100)).length > 60, 'of few intervals each has more');
  const byName = await of('{ kind = internal } | max_over_time(duration) by (name)', 20);
  t.ok(listed(byName).length >= 10);
  for (const { labels: group, exemplars = [] } of byName) {
    for (const { labels, value, timestampMs } of exemplars) {
      t.same(
        labels.map(({ key }) => key),
        ['trace:id', 'kind', 'name', 'duration'],
      );
      t.same(labels[2]!.value, group[0]!.value);
      const sinceStartMs = Number(timestampMs) - Number(startUnixNano / 1_000_000n);
      t.equal(Math.round(value! * 100_000), sinceStartMs, 'its duration');
    }
  }
  const quantiles = await of('{ } | quantile_over_time(duration, .1, .9)', 100);
  t.ok(quantiles.every(({ exemplars = [] }) => exemplars.length > 5));
  const histogram = await of('{ } | histogram_over_time(duration)', 100);
  t.ok(histogram.filter(({ exemplars = [] }) => exemplars.length > 0).length > 3);
  const kept = await of('{ } | rate() by (name) | topk(1)', 100);
  for (const { samples, exemplars = [] } of kept) {
    const ends = samples.map((one) => Number(one.timestampMs));
    for (const { timestampMs } of exemplars) {
      t.ok(
        ends.some((end) => Number(timestampMs) <= end && Number(timestampMs) > end - 2000),
        'of samples that are there',
      );
    }
  }
});

await t.test('above the limit a part of the series is there, and right', async (t) => {
  const spans = Array.from({ length: 600 }, (_, i) =>
    aSpan({
      traceId: hexId(i + 1, 16),
      name: `op-${i % 200}`,
      attributes: [['n', BigInt(i % 7)]],
      startUnixNano: START_NANO + BigInt(i) * 1000n,
    }),
  );
  const sources = [0, 1, 2].map((third) => new ArraySource(spans.filter((_, i) => i % 3 === third)));
  const startUnixNano = START_NANO - 1n;
  const range = { startUnixNano, endUnixNano: startUnixNano + SECOND, stepNanos: SECOND / 2n };
  for (const by of ['name', 'span.n, name', 'name, .none']) {
    const asked = { ...range, text: `{ } | count_over_time() by (${by})`, isInstant: false };
    const all = (await ask(asked, sources)).series.map((one) => JSON.stringify(one));
    const some = (await ask({ ...asked, cellsMax: 800 }, sources)).series.map((one) => JSON.stringify(one));
    t.ok(some.length > 5 && some.length <= 50 && some.length < all.length, `${some.length} of ${all.length}`);
    t.ok(
      some.every((one) => all.includes(one)),
      'no value lacks a part',
    );
    t.same(
      (await ask({ ...asked, cellsMax: 800 }, sources)).series,
      some.map((one) => JSON.parse(one) as unknown),
    );
  }
});

await t.test('parts that come together on the way make the same series', async (t) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);
  t.comment(`FUZZ_SEED=${seed}`);
  const chance = new Chance(seed);
  const spans = Array.from({ length: 900 }, (_, i) =>
    aSpan({
      traceId: hexId(i + 1, 16),
      name: `op-${chance.below(90)}`,
      attributes: [['n', chance.below(1000) / 7]],
      startUnixNano: START_NANO + BigInt(chance.below(900)) * 1_000_000n,
      endUnixNano: START_NANO + SECOND + BigInt(chance.below(900)) * 1_000_000n,
    }),
  );
  const sources = Array.from(
    { length: 12 },
    (_, i) => new ArraySource(spans.filter((__, k) => k % 12 === i)),
  );
  const startUnixNano = START_NANO - 1n;
  const range = { startUnixNano, endUnixNano: startUnixNano + SECOND, stepNanos: SECOND / 4n };
  for (const text of [
    '{ } | rate()',
    '{ } | rate() by (name)',
    '{ } | sum_over_time(span.n) by (name)',
    '{ } | avg_over_time(span.n) by (name) | topk(5)',
    '{ } | min_over_time(duration)',
    '{ } | quantile_over_time(duration, .5, .99) by (name)',
    '{ } | histogram_over_time(duration)',
    '{ } | compare({ span.n > 50 })',
    '{ false } | count_over_time()',
  ]) {
    for (const cellsMax of [100_000, 400]) {
      const asked = { ...range, text, isInstant: false, exemplarsMax: 30, cellsMax };
      const want = await ask(asked, sources);
      for (const joins of [[12], [2, 2, 2, 2, 2, 2], [1, 1, 5, 3], [7]]) {
        t.strictSame(await ask({ ...asked, joins }, sources), want, `${text}, ${cellsMax}: ${joins.join()}`);
      }
    }
  }
});

await t.test('compare() keeps the most frequent values when there are too many', async (t) => {
  const spans = Array.from({ length: 3000 }, (_, i) =>
    aSpan({
      traceId: hexId(i + 1, 16),
      attributes: [
        ['unique', `value-${i}`],
        ['n', BigInt(i % 10 < 6 ? 1 : i % 10 < 9 ? 2 : 3)],
      ],
      startUnixNano: START_NANO + BigInt(i),
    }),
  );
  const sources = [0, 1].map((half) => new ArraySource(spans.filter((_, i) => i % 2 === half)));
  const startUnixNano = START_NANO - 1n;
  const range = { startUnixNano, endUnixNano: startUnixNano + SECOND, stepNanos: SECOND };
  const text = '{ } | compare({ status = error }, 2)';
  const { series } = await ask({ ...range, text, isInstant: false, cellsMax: 20_000 }, sources);
  const counts = (series as Shown[]).map(({ labels, samples }) => {
    const [type, attribute] = labels as unknown as [Keyed, Keyed];
    const value = Object.values(attribute.value)[0];
    return `${type.value.stringValue} ${attribute.key} ${value} ${samples[0]!.value}`;
  });
  const of = (key: string): string[] => counts.filter((one) => one.includes(` ${key} `));
  t.same(of('span.n'), ['baseline span.n 1 1800', 'baseline span.n 2 900', 'baseline_total span.n nil 3000']);
  t.equal(of('span.unique').length, 3);
  t.equal(of('span.unique').at(-1), 'baseline_total span.unique nil 3000');
});

interface Keyed {
  readonly key: string;
  readonly value: { readonly stringValue: string };
}

await t.test('stages after the function', async (t) => {
  const second = START_NANO / SECOND;
  const startUnixNano = second * SECOND;
  const range = { startUnixNano, endUnixNano: startUnixNano + 2n * SECOND, stepNanos: SECOND };
  const names = ['a', 'a', 'a', 'b', 'b', 'c', 'c', 'd'];
  const spans = names.map((name, i) =>
    aSpan({
      name,
      spanId: hexId(i + 1, 8),
      attributes: [
        ['n', BigInt((i % 4) - 2)],
        ['f', (i % 4) - 1.5],
      ],
      startUnixNano: startUnixNano + BigInt(i + 1),
      endUnixNano: startUnixNano + BigInt(i + 1_000_001),
    }),
  );
  const source = new ArraySource(spans);
  const answers: Record<string, string> = {
    '{ } | rate() by (name) | topk(2)': 'a 3 0 b 2 0',
    '{ } | rate() by (name) | bottomk(2)': 'c 2 0 d 1 0',
    '{ } | rate() by (span.n) | topk(1)': '-1 2 0',
    '{ } | rate() by (span.n) | bottomk(1)': '0 2 0',
    '{ } | rate() by (span.f) | topk(2)': '-1.5 2 0 -0.5 2 0',
    '{ } | rate() by (span.f) | bottomk(1)': '0.5 2 0',
    '{ } | rate() by (name) > 1': 'a 3 - b 2 - c 2 -',
    '{ } | rate() by (name) >= 1 != 2.0': 'a 3 - d 1 -',
    '{ } | rate() by (name) < 3 | topk(1)': 'a - 0 b 2 -',
    '{ } | max_over_time(duration) by (name) <= -1ms': '',
    '{ } | max_over_time(duration) by (name) <= 1ms': 'a 0.001 - b 0.001 - c 0.001 - d 0.001 -',
  };
  for (const [text, want] of Object.entries(answers)) {
    const { series } = await ask({ ...range, text, isInstant: false }, [source]);
    t.equal(series.map((one) => shown(one as Shown, startUnixNano)).join(' '), want, text);
    t.equal(printQuery(parse(printQuery(parse(text)))), printQuery(parse(text)));
  }
  for (const text of [
    '{ } | rate() > "x"',
    '{ } | rate() =~ 1',
    '{ } | rate() > { }',
    '{ } | rate() | > 1',
  ]) {
    t.throws(() => parse(text), /parse error/, text);
  }
  for (const text of ['{ } | rate() > 1 | topk(0)', '{ } | compare({ status = error }) > 1']) {
    t.throws(() => validate(parse(text)), text);
  }
});

interface Shown {
  readonly labels: readonly { readonly value: { readonly stringValue: string } }[];
  readonly samples: readonly { readonly timestampMs: string; readonly value?: number }[];
}

/** The label and two samples; - = none. */
function shown({ labels, samples }: Shown, startUnixNano: bigint): string {
  const at = (i: bigint): string => String((startUnixNano + i * SECOND) / 1_000_000n);
  const sample = (i: bigint): number | string => {
    const found = samples.find(({ timestampMs }) => timestampMs === at(i));
    return found === undefined ? '-' : (found.value ?? 0);
  };
  return `${Object.values(labels[0]!.value)[0]} ${sample(1n)} ${sample(2n)}`;
}
