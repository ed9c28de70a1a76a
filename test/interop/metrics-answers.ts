// Answers to metrics queries in a form that two servers can be compared by.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { intrinsicOf } from '../../src/traceql/intrinsics.ts';
import { parse } from '../../src/traceql/parser.ts';
import { Chance } from '../support/fuzz.ts';
import { RandomQueries } from '../support/random-query.ts';
import type { RunningTempo } from '../support/server.ts';
import type { Corpus } from './corpus.ts';
import { ARRAYS, deviationsOf } from './deviation-rules.ts';
import { VOCABULARY } from './vocabulary.ts';

interface Series {
  readonly labels: readonly { readonly key: string; readonly value: unknown }[];
  readonly samples: readonly { readonly timestampMs: string; readonly value?: number }[];
}

/** Values by labels and time; text = a status. */
export type MetricsAnswer = string | ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Sums of floats depend on the order of spans in Tempo. */
const TOLERANCE = 1e-9;
/** Their sum is no double any more. */
const OVERFLOW = /(avg|sum)_over_time\(span\.odd\.huge\)/;

export function randomMetrics(seed: number, count: number): string[] {
  const random = new RandomQueries(new Chance(seed), VOCABULARY);
  return Array.from({ length: count }, () => random.metrics());
}

/** Whether Tempo answers as we do, by the entries of the deviations. */
export function isAlike(query: string): boolean {
  const { headings, ignoresRootless } = deviationsOf(parse(query));
  return headings.size === 0 && !ignoresRootless && !OVERFLOW.test(query);
}

/** What has no value in Tempo's answer, though it has a series. */
const ODD = /(^|\.)odd[. ]/;
/** What Tempo has otherwise over vParquet5: a column more, and absences that it names. */
const OF_VPARQUET5 = new Set([
  'span:childCount',
  'resource.cluster',
  'resource.namespace',
  'resource.pod',
  'resource.container',
  'span.server.port',
  'span.http.response.status_code',
]);
/** So many values that compare() shows all; of fewer it is any of equally frequent ones. */
const ALL_VALUES = 5000;

/** Of an answer to compare() what Tempo counts as we do, over blocks of that format. */
export function alikeInTempo(
  query: string,
  answer: MetricsAnswer,
  format = process.env['BLOCK_VERSION'],
): MetricsAnswer {
  const parsed = parse(query);
  if (parsed.metrics?.kind !== 'compare' || typeof answer === 'string') return answer;
  const { topN } = parsed.metrics;
  const { mentioned } = deviationsOf(parsed);
  const isOtherFormat = format === 'vParquet5';
  const isCompared = (labels: string): boolean => {
    const [, side, label] = /^__meta_type=\{"stringValue":"(\w+)"\},(.*?)=\{/.exec(labels)!;
    if (isOtherFormat && OF_VPARQUET5.has(label!)) return false;
    const isAll = topN >= ALL_VALUES || side!.endsWith('_total');
    const intrinsic = intrinsicOf(label!)?.name;
    const name = intrinsic ?? label!.replace(/^\w+\./, '');
    return isAll && !mentioned.has(name) && !ARRAYS.has(name) && !ODD.test(label!.replaceAll('"', ''));
  };
  return new Map([...answer].filter(([labels]) => isCompared(labels)));
}

export async function askMetrics(
  tempo: RunningTempo,
  { startSec, endSec }: Pick<Corpus, 'startSec' | 'endSec'>,
  query: string,
): Promise<MetricsAnswer> {
  const range = `start=${startSec}&end=${endSec}&step=60s`;
  const response = await tempo.get(`/api/metrics/query_range?${range}&q=${encodeURIComponent(query)}`);
  const text = await response.text();
  if (response.status !== 200) return `status ${response.status}`;
  const { series } = JSON.parse(text) as { readonly series: readonly Series[] };
  return new Map(
    series.map(({ labels, samples }) => [
      labels
        .map(({ key, value }) => `${key}=${JSON.stringify(value)}`)
        .toSorted()
        .join(),
      new Map(samples.map(({ timestampMs, value = 0 }) => [timestampMs, value])),
    ]),
  );
}

/** undefined = there is none. */
export function metricsDifference(a: MetricsAnswer, b: MetricsAnswer): string | undefined {
  if (typeof a === 'string' || typeof b === 'string') return a === b ? undefined : `${show(a)} or ${show(b)}`;
  for (const labels of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(labels), b.get(labels)];
    if (left === undefined || right === undefined)
      return `${labels}: only ${left ? 'the first' : 'the second'}`;
    for (const at of new Set([...left.keys(), ...right.keys()])) {
      const [x, y] = [left.get(at), right.get(at)];
      const isClose =
        x !== undefined &&
        y !== undefined &&
        Math.abs(x - y) <= TOLERANCE * Math.max(Math.abs(x), Math.abs(y));
      if (x !== y && !isClose) return `${labels} at ${at}: ${x} or ${y}`;
    }
  }
  return undefined;
}

const show = (answer: MetricsAnswer): string =>
  typeof answer === 'string' ? answer : `${answer.size} series`;

export class MetricsAnswers {
  readonly all = new Map<string, MetricsAnswer>();

  static async of(
    tempo: RunningTempo,
    corpus: Pick<Corpus, 'startSec' | 'endSec'>,
    queries: readonly string[],
  ): Promise<MetricsAnswers> {
    const answers = new MetricsAnswers();
    for (const query of queries) answers.all.set(query, await askMetrics(tempo, corpus, query));
    return answers;
  }

  get withSeries(): number {
    return [...this.all.values()].filter((answer) => typeof answer !== 'string' && answer.size > 0).length;
  }

  /** One line for each query that both were asked and that is not answered alike. */
  differencesTo(
    other: MetricsAnswers,
    compared: (query: string, answer: MetricsAnswer) => MetricsAnswer = (_, answer) => answer,
  ): string[] {
    const lines: string[] = [];
    for (const [query, answer] of other.all) {
      const own = this.all.get(query);
      const what =
        own === undefined ? undefined : metricsDifference(compared(query, own), compared(query, answer));
      if (what !== undefined) lines.push(`${query}: ${what}`);
    }
    return lines;
  }
}

/** Tempo computes metrics of blocks of a generator only, which say that they are not replicated. */
export function forMetrics(data: string): void {
  const folder = join(data, 'blocks', 'single-tenant');
  for (const name of readdirSync(folder)) {
    const path = join(folder, name, 'meta.json');
    if (name.startsWith('index') || name.startsWith('.')) rmSync(join(folder, name));
    else {
      const meta = JSON.parse(readFileSync(path, 'utf8')) as object;
      writeFileSync(path, JSON.stringify({ ...meta, replicationFactor: 1 }));
    }
  }
}
