// What replication factor 3 costs: queries over three ingesters against one process, or with --one-copy
// against the same roles with one ingester, over recent spans and then over the blocks that the three wrote;
// and pushes against another program in the same layout. With --one-copy it fails where replicas take more
// than 1.5 times the CPU.
// npm run bench:replicas -- --corpus DIR [--suite FILE] [--runs 3] [--spans N] [--folder DIR] [--append]
//   [--one-copy] [--pushes 3] [--against PROGRAM] [--compression NAME ...]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Corpus, cutCorpus, readCorpus } from './corpus.ts';
import { type Layout, startOne, startReplicas } from './layouts.ts';
import { cpuSeconds, untilIdle } from './proc.ts';
import { push } from './push.ts';
import { quantile } from './quantile.ts';
import { askOnce, countResults, type Query, readSuite } from './queries.ts';
import { appendReport, provenance } from './report.ts';
import { markdownTable } from './table.ts';

const { values: flags } = parseArgs({
  options: {
    corpus: { type: 'string' },
    spans: { type: 'string' },
    suite: { type: 'string', multiple: true, default: ['test/bench/read.jsonl', 'test/bench/metrics.jsonl'] },
    runs: { type: 'string', default: '3' },
    pushes: { type: 'string', default: '0' },
    against: { type: 'string' },
    compression: { type: 'string', multiple: true },
    'one-copy': { type: 'boolean', default: false },
    'no-queries': { type: 'boolean', default: false },
    folder: { type: 'string' },
    append: { type: 'boolean', default: false },
  },
});

/** What replicas are compared with. */
const ONE = flags['one-copy'] ? 'the same roles with one copy' : 'one process';
/** Times the CPU of one copy. */
const RATIO_MAX = 1.5;
const QUIET_MS = 3000;
/** Longer than traces rest, and than ingesters look for such: what comes then is part of a push. */
const PUSH_QUIET_MS = 16_000;
const IDLE_LIMIT_MS = 600_000;
/** Local copies of blocks are gone, and the blocklist names them. */
const BLOCKS_PAUSE_MS = 15_000;
const CONNECTIONS = 4;
/** Before what processes do while nobody asks for anything is measured, and for how long it is. */
const IDLE_MS = 5000;
/** Of the corpus, before pushes count: code that has just been loaded is slow. */
const WARM_UP_SHARE = 0.4;

interface Asked {
  readonly name: string;
  readonly ms: readonly [number[], number[]];
  readonly cpuMs: [number, number];
  readonly found: Set<string>;
}

/** Share of a core that the processes take while nobody asks for anything: gossip, guards, polls. */
async function idleCores(layouts: readonly Layout[]): Promise<readonly number[]> {
  const before = layouts.map(({ pids }) => cpuSeconds(pids));
  const beganMs = performance.now();
  await pause(IDLE_MS);
  const seconds = (performance.now() - beganMs) / 1000;
  return layouts.map(({ pids }, i) => (cpuSeconds(pids) - before[i]!) / seconds);
}

async function pushAll(layout: Layout, corpus: Corpus): Promise<number> {
  const options = { otlp: layout.otlp, connections: CONNECTIONS, spansPerSec: 0, tenants: 0 };
  const { lostSpans, problems, wallSec } = await push(corpus, options);
  if (lostSpans > 0) throw new Error(`${layout.name}: ${lostSpans} spans lost: ${[...problems.keys()][0]}`);
  return wallSec;
}

/** Queries in turn on both, so that both see the same machine. */
async function askBoth(layouts: readonly [Layout, Layout], queries: readonly Query[], corpus: Corpus) {
  const runs = Number(flags.runs);
  const asked = queries.map(
    ({ name }): Asked => ({ name, ms: [[], []], cpuMs: [0, 0], found: new Set<string>() }),
  );
  // Each once before anything counts.
  for (const layout of layouts) for (const query of queries) await ask(layout, query, corpus, 0);
  const idle = await idleCores(layouts);
  const before = processCpu(layouts[1]);
  const idleMs = [0, 0];
  for (let run = 1; run <= runs; run++) {
    for (const [i, query] of queries.entries()) {
      for (const [k, layout] of layouts.entries()) {
        const at = k as 0 | 1;
        const cpuBefore = cpuSeconds(layout.pids);
        const { ms, text, status } = await ask(layout, query, corpus, run);
        asked[i]!.cpuMs[at] += ((cpuSeconds(layout.pids) - cpuBefore) * 1000) / runs;
        idleMs[at]! += (idle[at]! * ms) / runs;
        asked[i]!.ms[at].push(ms);
        asked[i]!.found.add(`${status === 200 ? '' : `${status}: `}${countResults(text)}`);
      }
    }
  }
  const after = processCpu(layouts[1]);
  return { asked, idleMs, shares: [...after].map(([role, cpu]) => [role, cpu - before.get(role)!] as const) };
}

function ask({ url = '', pids }: Layout, query: Query, corpus: Corpus, run: number) {
  return askOnce(query, { url, pids }, corpus, run);
}

function processCpu({ processes }: Layout): Map<string, number> {
  return new Map([...processes].map(([role, { pid }]) => [role, cpuSeconds([pid])]));
}

type AskedBoth = Awaited<ReturnType<typeof askBoth>>;

/** Of all queries, without what processes take while nobody asks. */
function cpuMsOf({ asked, idleMs }: Pick<AskedBoth, 'asked' | 'idleMs'>): readonly [number, number] {
  const sum = (at: 0 | 1): number => asked.reduce((all, { cpuMs }) => all + cpuMs[at], 0) - idleMs[at]!;
  return [sum(0), sum(1)];
}

/** One copy in the same roles is what there is a bound for. */
function checkRatio(what: string, both: AskedBoth): void {
  const [one, replicas] = cpuMsOf(both);
  if (!flags['one-copy'] || replicas <= RATIO_MAX * one) return;
  console.error(
    `${what} take ${(replicas / one).toFixed(2)} times the CPU of one copy, ${RATIO_MAX} at most`,
  );
  process.exitCode = 1;
}

function queryReport({ asked, idleMs, shares }: AskedBoth): string {
  const p50 = (ms: readonly number[]): number => quantile(ms, 0.5);
  const rows = asked.map(({ name, ms: [alone, three], cpuMs, found }) => [
    name,
    ...cpuMs.map((cpu) => cpu.toFixed(1)),
    ...[alone, three].map((ms) => p50(ms).toFixed(1)),
    (p50(three) - p50(alone)).toFixed(1),
    [...found].join(' / '),
  ]);
  const [one, replicas] = cpuMsOf({ asked, idleMs });
  const overheads = asked.map(({ ms: [alone, three] }) => p50(three) - p50(alone));
  const header = [
    'query',
    'one, CPU ms',
    'replicas, CPU ms',
    'one, p50 ms',
    'replicas, p50 ms',
    'more',
    'found',
  ];
  const perRun = ([role, cpu]: readonly [string, number]): string =>
    `${role} ${((cpu * 1000) / Number(flags.runs)).toFixed(0)} ms`;
  return [
    markdownTable([header, ...rows]),
    [
      `CPU of all queries: ${one.toFixed(0)} ms in ${ONE}, ${replicas.toFixed(0)} ms in replicas:`,
      `${(replicas / one).toFixed(2)} times. p50 more: ${p50(overheads).toFixed(1)} ms in the median of`,
      `queries, ${Math.max(...overheads).toFixed(1)} ms at most. Left out of both: what they take in the`,
      `same time while nobody asks, ${idleMs.map((ms) => `${ms.toFixed(0)} ms`).join(' and ')}.`,
    ].join(' '),
    `Replicas: ${shares.map(perRun).join(', ')}.`,
  ].join('\n\n');
}

async function flush({ ingesters, pids, name }: Layout): Promise<void> {
  for (const { url } of ingesters) {
    const response = await fetch(`${url}/flush`, { method: 'POST' });
    if (!response.ok) throw new Error(`${name}: /flush: status ${response.status}: ${await response.text()}`);
  }
  await settled(pids);
}

async function settled(pids: readonly number[], quietMs = QUIET_MS): Promise<void> {
  if (!(await untilIdle(pids, quietMs, IDLE_LIMIT_MS))) {
    console.error(`not idle after ${IDLE_LIMIT_MS / 1000} s`);
  }
}

async function measureQueries(corpus: Corpus, folder: string): Promise<string[]> {
  const queries = flags.suite.flatMap(readSuite);
  const one = flags['one-copy']
    ? await startReplicas(join(folder, 'one'), { name: ONE, reads: true, copies: 1 })
    : await startOne(join(folder, 'one'));
  let replicas: Layout | undefined;
  try {
    replicas = await startReplicas(join(folder, 'replicas'), { name: 'replicas', reads: true });
    const layouts = [one, replicas] as const;
    for (const layout of layouts) await pushAll(layout, corpus);
    await settled([...one.pids, ...replicas.pids]);
    const recent = await askBoth(layouts, queries, corpus);
    for (const layout of layouts) await flush(layout);
    await pause(BLOCKS_PAUSE_MS);
    const blocks = await askBoth(layouts, queries, corpus);
    checkRatio('queries over recent spans', recent);
    checkRatio('queries over blocks', blocks);
    return [
      `### Queries over recent spans\n\n${queryReport(recent)}`,
      `### Queries over the blocks of each ingester\n\n${queryReport(blocks)}`,
    ];
  } finally {
    await Promise.all([one.stop(), replicas?.stop()]);
  }
}

/** Whose pushes are measured. */
interface Pushes {
  readonly name: string;
  readonly program?: string | undefined;
  readonly compression?: string | undefined;
}

function pushesWanted(): Pushes[] {
  const { compression = [undefined], against } = flags;
  const ours = compression.map((each) => ({
    name: each === '' ? 'identity' : (each ?? 'this'),
    compression: each,
  }));
  return against === undefined ? ours : [...ours, { name: 'other', program: against }];
}

interface Pushed {
  readonly ackUs: number;
  readonly settledUs: number;
  readonly spansPerSec: number;
}

async function measurePush(corpus: Corpus, folder: string, pushes: Pushes): Promise<Pushed> {
  const layout = await startReplicas(folder, { ...pushes, reads: false });
  try {
    const [warmUp, counted] = cutCorpus(
      corpus,
      [WARM_UP_SHARE, 1].map((share) => corpus.spans * share),
    );
    await pushAll(layout, warmUp!);
    await settled(layout.pids, PUSH_QUIET_MS);
    const before = cpuSeconds(layout.pids);
    const wallSec = await pushAll(layout, counted!);
    const acknowledged = cpuSeconds(layout.pids);
    await settled(layout.pids, PUSH_QUIET_MS);
    const { spans } = counted!;
    const perSpan = (seconds: number): number => ((seconds - before) * 1e6) / spans;
    return {
      ackUs: perSpan(acknowledged),
      settledUs: perSpan(cpuSeconds(layout.pids)),
      spansPerSec: spans / wallSec,
    };
  } finally {
    await layout.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measurePushes(corpus: Corpus, folder: string): Promise<string[]> {
  const rounds = Number(flags.pushes);
  if (rounds === 0) return [];
  const wanted = pushesWanted();
  const figures: Pushed[][] = wanted.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, pushes] of wanted.entries()) {
      figures[i]!.push(await measurePush(corpus, join(folder, `push-${round}-${i}`), pushes));
      console.log(pushes.name, figures[i]!.at(-1));
    }
  }
  const names = wanted.map(({ name }) => name);
  return [`### Pushes to a distributor and three ingesters\n\n${pushReport(names, figures)}`];
}

/** Each beside the last one, where there are several. */
function pushReport(names: readonly string[], figures: readonly (readonly Pushed[])[]): string {
  const others = figures.slice(0, -1);
  const row = (name: string, digits: number, pick: (pushed: Pushed) => number): string[] => {
    const values = figures.map((rounds) => rounds.map(pick));
    const last = values.at(-1)!;
    const ratios = others.map((_, i) =>
      values[i]!.map((value, k) => (value / last[k]!).toFixed(2)).join(', '),
    );
    return [name, ...values.map((each) => each.map((value) => value.toFixed(digits)).join(', ')), ...ratios];
  };
  return markdownTable([
    ['figure', ...names, ...others.map((_, i) => `ratio of ${names[i]}`)],
    row('CPU µs a span until acknowledged', 2, ({ ackUs }) => ackUs),
    row('CPU µs a span until idle', 2, ({ settledUs }) => settledUs),
    row('spans a second', 0, ({ spansPerSec }) => spansPerSec),
  ]);
}

if (flags.corpus === undefined)
  throw new Error('--corpus is missing; see the head of test/bench/replicas.ts');
const corpus = readCorpus(flags.corpus, flags.spans === undefined ? undefined : Number(flags.spans));
const folder = mkdtempSync(join(flags.folder ?? tmpdir(), 'replicas-'));
const parts = [provenance(corpus)];
if (!flags['no-queries']) parts.push(...(await measureQueries(corpus, folder)));
parts.push(...(await measurePushes(corpus, folder)));
rmSync(folder, { recursive: true, force: true });
console.log(`\n${parts.join('\n\n')}`);
if (flags.append) appendReport('docs/benchmarks.md', 'Replication factor 3', parts.join('\n\n'));
