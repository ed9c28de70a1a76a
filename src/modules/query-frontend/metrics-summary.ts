// The metrics summary, which Tempo 2 has and Tempo 3 has not: counts, errors and quantiles of the durations
// of groups of spans, made of three metrics queries, as JSON.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { GroupField, SummaryParams } from '../../api/summary-params.ts';
import type { MetricsAnswer, MetricsQuery, Querier } from '../../contracts/query.ts';
import type { FieldRef } from '../../traceql/ast.ts';
import { parseDuration } from '../../traceql/duration.ts';

interface Label {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    readonly intValue?: string;
    readonly doubleValue?: number | string;
    readonly boolValue?: boolean;
  };
}

interface InstantSeries {
  readonly labels?: readonly Label[];
  readonly value?: number;
}

/** There may be very many. */
interface Group {
  /** Labels as JSON. */
  readonly key: string;
  spans: number;
  errors: number;
  /** Spans by the power of two of nanoseconds that their duration is not longer than, where that is one. */
  bucket: number;
  count: number;
  /** All of them, where there are several. */
  buckets: Float64Array | undefined;
}

interface OneOfGroup {
  readonly group: Group;
  readonly value: number;
  readonly bucket: number;
}

/** Of an answer whose series were read. */
type Told = Pick<MetricsAnswer, 'isCut' | 'partial' | 'stats'>;

/** Where it is counted what a summary takes. Throws when that is too much. */
export interface SummaryBytes {
  hold(bytes: number): void;
  dropAll(): void;
}

export interface Summary {
  readonly body: string;
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

/** Of each of the queries. */
const SERIES_MAX = 100_000;
/** Others get a turn after so many of them. */
const TURN_SERIES = 500;
const BUCKETS = 64;
/** Of a group, beside its labels, and of its buckets where there are several. */
const GROUP_BYTES = 250;
const BUCKETS_BYTES = BUCKETS * 8 + 200;
const BUCKET_LABEL = '__bucket';
const QUANTILES = [
  ['p99', 0.99],
  ['p95', 0.95],
  ['p90', 0.9],
  ['p50', 0.5],
] as const;

export async function summarize(
  querier: Querier,
  tenant: string,
  params: SummaryParams,
  signal: AbortSignal,
  held: SummaryBytes,
): Promise<Summary> {
  const { query, groupBy, startUnixNano, endUnixNano } = params;
  const groups = new Groups(held);
  const ask = (stages: string, add: (one: OneOfGroup) => void): Promise<Told> => {
    const by = [...new Set(groupBy.map(({ label }) => label))].join(', ');
    const asked: MetricsQuery = {
      tenant,
      query: `${query} | ${stages} by (${by})`,
      startUnixNano,
      endUnixNano,
      stepNanos: endUnixNano - startUnixNano,
      isInstant: true,
      exemplarsMax: 0,
      seriesMax: SERIES_MAX,
      format: 'json',
    };
    return askedAlone(querier, asked, signal, async (answer) => {
      for await (const one of seriesOf(answer, groups, signal)) add(one);
    });
  };
  // at a time, so that they see the same spans
  const answers = await Promise.all([
    ask('count_over_time()', ({ group, value }) => (group.spans += value)),
    ask('{ status = error } | count_over_time()', ({ group, value }) => (group.errors += value)),
    ask('histogram_over_time(duration)', ({ group, value, bucket }) => groups.count(group, bucket, value)),
  ]);
  const [, , histograms] = answers;
  const reasons = answers.flatMap(({ isCut, partial }) =>
    isCut ? [`more groups than fit into ${SERIES_MAX} series`, ...partial] : partial,
  );
  const whole = [...groups.all()].filter((group) => !histograms.isCut || bucketed(group) === group.spans);
  const body = await summaryJson(whole, groupBy);
  held.dropAll();
  held.hold(body.length);
  return {
    body,
    inspectedBytes: answers.reduce((sum, { stats }) => sum + stats.inspectedBytes, 0),
    partial: [...new Set(reasons)],
  };
}

/** The memory of its series counts until they are read, and no longer: the others may wait for it. */
async function askedAlone(
  querier: Querier,
  asked: MetricsQuery,
  signal: AbortSignal,
  read: (answer: MetricsAnswer) => Promise<void>,
): Promise<Told> {
  const done = new AbortController();
  try {
    const answer = await querier.metrics(asked, AbortSignal.any([signal, done.signal]));
    await read(answer);
    const { isCut, partial, stats } = answer;
    return { isCut, partial, stats };
  } finally {
    done.abort();
  }
}

class Groups {
  readonly #held: SummaryBytes;
  readonly #byKey = new Map<string, Group>();

  constructor(held: SummaryBytes) {
    this.#held = held;
  }

  of(labels: readonly Label[]): Group {
    const key = JSON.stringify(labels);
    let group = this.#byKey.get(key);
    if (group === undefined) {
      this.#held.hold(GROUP_BYTES + key.length);
      group = { key, spans: 0, errors: 0, bucket: 0, count: 0, buckets: undefined };
      this.#byKey.set(key, group);
    }
    return group;
  }

  count(group: Group, bucket: number, value: number): void {
    if (group.buckets === undefined && (group.count === 0 || group.bucket === bucket)) {
      group.bucket = bucket;
      group.count += value;
      return;
    }
    if (group.buckets === undefined) {
      this.#held.hold(BUCKETS_BYTES);
      group.buckets = bucketsOf(group);
    }
    group.buckets[bucket]! += value;
  }

  all(): Iterable<Group> {
    return this.#byKey.values();
  }
}

/** Of one with a single bucket a new list. */
function bucketsOf({ bucket, count, buckets }: Group): Float64Array {
  if (buckets !== undefined) return buckets;
  const all = new Float64Array(BUCKETS);
  all[bucket] = count;
  return all;
}

async function* seriesOf(
  { series }: MetricsAnswer,
  groups: Groups,
  signal: AbortSignal,
): AsyncGenerator<OneOfGroup> {
  for (const [i, text] of series.entries()) {
    if (i % TURN_SERIES === TURN_SERIES - 1) {
      await nextTurn();
      signal.throwIfAborted();
    }
    const { labels = [], value = 0 } = JSON.parse(Buffer.from(text).toString()) as InstantSeries;
    const own = isNil(labels) ? [] : labels.filter(({ key }) => key !== BUCKET_LABEL);
    const group = groups.of(own);
    const seconds = Number(labels.find((label) => label.key === BUCKET_LABEL)?.value.doubleValue ?? 0);
    yield { group, value, bucket: seconds > 0 ? Math.round(Math.log2(seconds * 1e9)) : 0 };
  }
}

/** Spans that are in intervals: all that last longer than 1 ns. */
function bucketed({ count, buckets }: Group): number {
  return buckets === undefined ? count : buckets.reduce((sum, some) => sum + some, 0);
}

/** The largest groups first. Zero values are left out. */
async function summaryJson(groups: readonly Group[], groupBy: readonly GroupField[]): Promise<string> {
  if (groups.length === 0) return '{}';
  const texts: { readonly spans: number; readonly text: string }[] = [];
  for (const [i, group] of groups.entries()) {
    if (i % TURN_SERIES === TURN_SERIES - 1) await nextTurn();
    texts.push({ spans: group.spans, text: groupJson(group, groupBy) });
  }
  texts.sort((a, b) => b.spans - a.spans || (a.text < b.text ? -1 : 1));
  return `{"summaries":[${texts.map(({ text }) => text).join()}]}`;
}

function groupJson(group: Group, groupBy: readonly GroupField[]): string {
  const { spans, errors } = group;
  const labels = JSON.parse(group.key) as readonly Label[];
  const counted = bucketed(group);
  const all = Float64Array.from(bucketsOf(group), (count, i) => (i === 0 ? count + spans - counted : count));
  const series = groupBy.map(({ field, label }) => {
    const value = labels.find(({ key }) => key === label)?.value;
    return `{"key":${JSON.stringify(label)},"value":${staticJson(field, value)}}`;
  });
  return `{${[
    `"spanCount":"${spans}"`,
    ...(errors > 0 ? [`"errorSpanCount":"${errors}"`] : []),
    `"series":[${series.join()}]`,
    ...QUANTILES.map(([name, quantile]) => `"${name}":"${quantileNanos(all, quantile)}"`),
  ].join()}}`;
}

/** A group without any value is named by this text in the place of the first. */
function isNil(labels: readonly Label[]): boolean {
  return labels.length === 1 && labels[0]!.value.stringValue === 'nil';
}

/** Between the two bounds of the interval that the quantile is in, on a logarithmic scale. */
function quantileNanos(buckets: Float64Array, quantile: number): bigint {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  const wanted = Math.ceil(quantile * total);
  let below = 0;
  for (const [i, count] of buckets.entries()) {
    if (below + count < wanted) below += count;
    else return BigInt(Math.floor(2 ** Math.max(0, i - 1) * 2 ** share(i, wanted - below, count)));
  }
  return 0n;
}

/** How far into the interval; the first one ends where it begins. */
function share(bucket: number, part: number, count: number): number {
  return bucket === 0 ? 0 : part / count;
}

const STATUSES = ['error', 'ok', 'unset'];
const KINDS = ['unspecified', 'internal', 'client', 'server', 'producer', 'consumer'];
const DURATIONS: ReadonlySet<string> = new Set(['span:duration', 'trace:duration', 'event:timeSinceStart']);

/** TraceQLStatic {type, n, f, s, b, d, status, kind}. */
function staticJson(field: FieldRef, value: Label['value'] | undefined): string {
  if (value === undefined) return '{}';
  const { stringValue = '', intValue, doubleValue, boolValue } = value;
  if (field.kind === 'intrinsic' && field.name === 'span:status') {
    return typedJson(12, 'status', numberOf(STATUSES, stringValue) || '');
  }
  if (field.kind === 'intrinsic' && field.name === 'span:kind') {
    return typedJson(13, 'kind', numberOf(KINDS, stringValue) || '');
  }
  if (field.kind === 'intrinsic' && DURATIONS.has(field.name)) {
    return typedJson(11, 'd', JSON.stringify(String(parseDuration(stringValue) ?? 0n)));
  }
  if (intValue !== undefined) return typedJson(3, 'n', intValue === '0' ? '' : JSON.stringify(intValue));
  if (doubleValue !== undefined)
    return typedJson(4, 'f', doubleValue === 0 ? '' : JSON.stringify(doubleValue));
  if (boolValue !== undefined) return typedJson(6, 'b', boolValue ? 'true' : '');
  return typedJson(5, 's', stringValue === '' ? '' : JSON.stringify(stringValue));
}

/** `kind(7)` is 7. */
function numberOf(names: readonly string[], name: string): number {
  return names.includes(name) ? names.indexOf(name) : Number(/\((-?\d+)\)/.exec(name)?.[1] ?? 0);
}

/** @param value empty = zero, which is left out. */
function typedJson(type: number, name: string, value: string | number): string {
  return value === '' ? `{"type":${type}}` : `{"type":${type},"${name}":${value}}`;
}
