// Searches while spans come in, against the same searches and the same pushes alone. The corpus is cut in
// three: what is there before, what is pushed while nothing is asked, and what is pushed while searches run.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Asked, Asker } from './asker.ts';
import { cutCorpus, type Corpus } from './corpus.ts';
import { type PushOptions, type PushResult, push } from './push.ts';
import { quantile } from './quantile.ts';
import type { Query, QueryTarget } from './queries.ts';
import { markdownTable } from './table.ts';

export type LoadPlan = {
  readonly spansPerSec: number;
  /** Of each of the three measurements. */
  readonly seconds: number;
  /** Searches at a time. */
  readonly askers: number;
  readonly queries: readonly Query[];
};

export type LoadFigures = {
  readonly server: string;
  readonly calm: PushResult;
  readonly busy: PushResult;
  readonly calmMs: readonly number[];
  readonly busyMs: readonly number[];
  /** Alone again, over all that has come in meanwhile. */
  readonly afterMs: readonly number[];
  readonly bad: number;
};

export type LoadTarget = QueryTarget & Omit<PushOptions, 'spansPerSec'> & { readonly name: string };

/** How much longer spans come in beside searches, each of which is asked once before it counts. */
const WARM_SEC = 4;

/** @param settle has all that was pushed written to blocks, and waits until the server is idle. */
export async function measureUnderLoad(
  target: LoadTarget,
  corpus: Corpus,
  plan: LoadPlan,
  settle: () => Promise<void>,
): Promise<LoadFigures> {
  const { spansPerSec, seconds } = plan;
  const held = spansPerSec * seconds;
  const warming = spansPerSec * WARM_SEC;
  const [before, calmPart, busyPart] = cutCorpus(corpus, [
    corpus.spans - 2 * held - warming,
    held,
    held + warming,
  ]);
  if (before === undefined || before.spans < held) {
    throw new Error(
      `the corpus has ${corpus.spans} spans, --load-sec ${seconds} needs ${3 * held + warming}`,
    );
  }
  await push(before, { ...target, spansPerSec: 0 });
  await settle();
  const calm = await push(calmPart!, { ...target, spansPerSec });
  const { url, pids, tenant, name: server } = target;
  const { traceIds, startSec, endSec } = corpus;
  const { queries, askers } = plan;
  const asker = new Asker({
    target: { url, pids, tenant },
    corpus: { traceIds, startSec, endSec },
    queries,
    askers,
  });
  await asker.warmUp(); // over spans that have just come in, and then over blocks
  const measureAlone = async (): Promise<Asked> => {
    await settle();
    await asker.warmUp();
    asker.begin();
    await sleep(seconds * 1000);
    return asker.end();
  };
  const alone = await measureAlone();
  const pushing = push(busyPart!, { ...target, spansPerSec });
  await asker.warmUp(); // as before it was alone: threads have to share other work now
  asker.begin();
  const busy = await pushing;
  const beside = await asker.end();
  const after = await measureAlone();
  await asker.close();
  const bad = alone.bad + beside.bad + after.bad;
  const latencies = { calmMs: alone.latencies, busyMs: beside.latencies, afterMs: after.latencies };
  return { server, calm, busy, ...latencies, bad };
}

/** For each server three columns: alone, both together, and what that is in terms of alone. */
export function loadTable(all: readonly LoadFigures[], { spansPerSec, askers }: LoadPlan): string {
  const header = all.flatMap(({ server }) => [`${server} alone`, 'together', 'ratio']);
  const row = (name: string, of: (figures: LoadFigures) => readonly [number, number]): string[] => [
    name,
    ...all.flatMap((figures) => {
      const [alone, together] = of(figures);
      return [alone.toFixed(1), together.toFixed(1), (together / alone).toFixed(2)];
    }),
  ];
  const count = (name: string, of: (figures: LoadFigures) => readonly [number, number]): string[] => [
    name,
    ...all.flatMap((figures) => [...of(figures).map(String), '']),
  ];
  return markdownTable([
    [`${spansPerSec} spans a second and ${askers} searches at a time`, ...header],
    row('search p50 ms', ({ calmMs, busyMs }) => [quantile(calmMs, 0.5), quantile(busyMs, 0.5)]),
    row('search p99 ms', ({ calmMs, busyMs }) => [quantile(calmMs, 0.99), quantile(busyMs, 0.99)]),
    row('search p50 ms, alone afterwards', ({ afterMs, busyMs }) => [
      quantile(afterMs, 0.5),
      quantile(busyMs, 0.5),
    ]),
    row('search p99 ms, alone afterwards', ({ afterMs, busyMs }) => [
      quantile(afterMs, 0.99),
      quantile(busyMs, 0.99),
    ]),
    count('searches', ({ calmMs, busyMs }) => [calmMs.length, busyMs.length]),
    row('acknowledge p50 ms', ({ calm, busy }) => [calm.ackP50Ms, busy.ackP50Ms]),
    row('acknowledge p99 ms', ({ calm, busy }) => [calm.ackP99Ms, busy.ackP99Ms]),
    row('spans a second', ({ calm, busy }) => [rateOf(calm), rateOf(busy)]),
    count('spans lost, bad answers', ({ calm, busy, bad }) => [lostOf(calm) + lostOf(busy), bad]),
  ]);
}

const rateOf = ({ acceptedSpans, wallSec }: PushResult): number => acceptedSpans / wallSec;
const lostOf = ({ lostSpans }: PushResult): number => lostSpans;
