// Measures a running server, or two in turn, from outside: OTLP in, HTTP out, CPU and memory from /proc.
// npm run bench -- --corpus DIR --url URL --otlp HOST:PORT --pid PID [--data DIR] [--against-url URL ...]
// [--append]
import { parseArgs } from 'node:util';
import { type Corpus, readCorpus } from './corpus.ts';
import { blocksBelow, type DiskUse } from './disk.ts';
import { cpuSeconds, memoryMib, sampleRss, untilIdle } from './proc.ts';
import { type LoadFigures, loadTable, measureUnderLoad } from './load.ts';
import { type PushResult, push } from './push.ts';
import {
  asAgainst,
  BY_ID,
  measureQuery,
  type Query,
  type QueryResult,
  type QueryTarget,
  readSuite,
  SEARCHES,
} from './queries.ts';
import { appendReport, type Figures, figuresTable, provenance } from './report.ts';
import { suiteReport } from './suite-report.ts';

type Server = {
  readonly name: string;
  readonly url: string;
  readonly otlp: string;
  readonly pids: readonly number[];
  readonly data: string | undefined;
};

const IDLE_LIMIT_MS = 300_000;
const REPORT_PATH = 'docs/benchmarks.md';

const { values: flags } = parseArgs({
  options: {
    corpus: { type: 'string' },
    name: { type: 'string', default: 'this' },
    url: { type: 'string', default: 'http://127.0.0.1:3200' },
    otlp: { type: 'string', default: '127.0.0.1:4317' },
    pid: { type: 'string' },
    data: { type: 'string' },
    'against-name': { type: 'string', default: 'Tempo' },
    'against-url': { type: 'string' },
    'against-otlp': { type: 'string' },
    'against-pid': { type: 'string' },
    'against-data': { type: 'string' },
    tenant: { type: 'string' },
    tenants: { type: 'string', default: '0' },
    connections: { type: 'string', default: '4' },
    rate: { type: 'string', default: '0' },
    spans: { type: 'string' },
    'idle-sec': { type: 'string', default: '6' },
    'id-runs': { type: 'string', default: '200' },
    'search-runs': { type: 'string', default: '10' },
    suite: { type: 'string', multiple: true },
    'load-sec': { type: 'string', default: '0' },
    askers: { type: 'string', default: '2' },
    'no-push': { type: 'boolean', default: false },
    append: { type: 'boolean', default: false },
    title: { type: 'string' },
  },
});

function required(name: 'corpus' | 'pid' | 'against-otlp' | 'against-pid'): string {
  const value = flags[name];
  if (value === undefined) throw new Error(`--${name} is missing; see the head of test/bench/bench.ts`);
  return value;
}

const pidList = (text: string): number[] => text.split(',').map(Number);

function servers(): Server[] {
  const { name, url, otlp, data } = flags;
  const ours: Server = { name, url, otlp, pids: pidList(required('pid')), data };
  const againstUrl = flags['against-url'];
  if (againstUrl === undefined) return [ours];
  const theirs: Server = {
    name: flags['against-name'],
    url: againstUrl,
    otlp: required('against-otlp'),
    pids: pidList(required('against-pid')),
    data: flags['against-data'],
  };
  return [ours, theirs];
}

/** Asks for everything to be written to blocks, and waits until the server has nothing left to do. */
async function completeAll(server: Server): Promise<void> {
  const response = await fetch(`${server.url}/flush`, { method: 'POST' });
  if (!response.ok) throw new Error(`/flush: status ${response.status}: ${await response.text()}`);
  const idle = await untilIdle(server.pids, Number(flags['idle-sec']) * 1000, IDLE_LIMIT_MS);
  if (!idle) console.error(`${server.url} was not idle after ${IDLE_LIMIT_MS / 1000} s`);
}

function tellPush(server: Server, corpus: Corpus, result: PushResult, cpuSec: number): void {
  const { wallSec, acceptedSpans, problems } = result;
  const rate = Math.round(acceptedSpans / wallSec);
  const cpuUs = ((cpuSec * 1e6) / acceptedSpans).toFixed(2);
  console.log(
    `${server.otlp}: ${acceptedSpans} of ${corpus.spans} spans in ${wallSec.toFixed(2)} s, ${rate} a second`,
  );
  console.log(`  server CPU ${cpuSec.toFixed(2)} s, ${cpuUs} µs a span`);
  for (const [message, count] of problems) console.error(`  ${count} x ${message}`);
}

const DEFAULT_PLAN = (): [Query, number][] => [
  [BY_ID, Number(flags['id-runs'])],
  ...SEARCHES.map((query): [Query, number] => [query, searchRuns()]),
];

const targetOf = ({ url, pids }: Server): QueryTarget => ({ url, pids, tenant: flags.tenant });

async function measureQueries(server: Server, corpus: Corpus): Promise<QueryResult[]> {
  const results: QueryResult[] = [];
  for (const [query, runs] of DEFAULT_PLAN()) {
    results.push(await measureQuery(query, targetOf(server), corpus, runs));
  }
  return results;
}

/** Each query of the suites on one server and then on the other, so that both see the same machine. */
async function measureSuites(all: readonly Server[], paths: readonly string[], corpus: Corpus) {
  const columns = all.map(({ name }) => ({ server: name, queries: [] as QueryResult[] }));
  for (const query of paths.flatMap(readSuite)) {
    for (const [at, server] of all.entries()) {
      const asked = at === 0 ? query : asAgainst(query);
      columns[at]!.queries.push(await measureQuery(asked, targetOf(server), corpus, searchRuns()));
    }
    console.log(
      `${query.name}: ${columns.map(({ queries }) => queries.at(-1)!.cpuMs.toFixed(1)).join(' / ')} ms`,
    );
  }
  return columns;
}

/** Used when no rate is given. */
const LOAD_SPANS_PER_SEC = 30_000;

async function underLoad(all: readonly Server[], corpus: Corpus): Promise<string> {
  const plan = {
    spansPerSec: Number(flags.rate) || LOAD_SPANS_PER_SEC,
    seconds: Number(flags['load-sec']),
    askers: Number(flags.askers),
    queries: flags.suite?.flatMap(readSuite).filter(({ path }) => path === '/api/search') ?? SEARCHES,
  };
  const figures: LoadFigures[] = [];
  for (const [at, server] of all.entries()) {
    const target = {
      ...server,
      ...targetOf(server),
      connections: Number(flags.connections),
      tenants: Number(flags.tenants),
    };
    const queries = at === 0 ? plan.queries : plan.queries.map(asAgainst);
    const settle = (): Promise<void> => completeAll(server);
    figures.push(await measureUnderLoad(target, corpus, { ...plan, queries }, settle));
  }
  return loadTable(figures, plan);
}

const searchRuns = (): number => Number(flags['search-runs']);

/** CPU seconds of the main thread so far, NaN where the server does not tell. */
async function mainThreadSeconds({ url }: Server): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(text.match(/^tempo_main_thread_cpu_seconds_total (\S+)/m)?.[1] ?? Number.NaN);
}

type WriteFigures = Omit<Figures, 'server' | 'queries' | 'bytesPerSpan' | 'blocks'>;

const NOTHING_PUSHED: WriteFigures = {
  spansPerSec: Number.NaN,
  ackP50Ms: Number.NaN,
  ackP99Ms: Number.NaN,
  ackCpuUs: Number.NaN,
  mainThreadCpuUs: Number.NaN,
  completeCpuUs: Number.NaN,
  pushRssMib: Number.NaN,
  peakRssMib: Number.NaN,
};

async function measureWrites(server: Server, corpus: Corpus): Promise<WriteFigures> {
  const { pids, otlp } = server;
  const connections = Number(flags.connections);
  const mainBefore = await mainThreadSeconds(server);
  const cpuBefore = cpuSeconds(pids);
  const stopPush = sampleRss(pids);
  const stopAll = sampleRss(pids);
  const pushed = await push(corpus, {
    otlp,
    connections,
    spansPerSec: Number(flags.rate),
    tenant: flags.tenant,
    tenants: Number(flags.tenants),
  });
  const ackCpu = cpuSeconds(pids) - cpuBefore;
  const mainCpu = (await mainThreadSeconds(server)) - mainBefore;
  const pushRssMib = stopPush();
  tellPush(server, corpus, pushed, ackCpu);
  await completeAll(server);
  const completeCpu = cpuSeconds(pids) - cpuBefore;
  return {
    spansPerSec: pushed.acceptedSpans / pushed.wallSec,
    ackP50Ms: pushed.ackP50Ms,
    ackP99Ms: pushed.ackP99Ms,
    ackCpuUs: (ackCpu * 1e6) / pushed.acceptedSpans,
    mainThreadCpuUs: (mainCpu * 1e6) / pushed.acceptedSpans,
    completeCpuUs: (completeCpu * 1e6) / pushed.acceptedSpans,
    pushRssMib,
    peakRssMib: Math.max(stopAll(), pushRssMib),
  };
}

const NO_BLOCKS: DiskUse = { blocks: 0, bytes: 0 };
const NO_FOLDER: DiskUse = { blocks: Number.NaN, bytes: Number.NaN };

async function measure(server: Server, corpus: Corpus): Promise<Figures> {
  const before = server.data === undefined || flags['no-push'] ? NO_BLOCKS : blocksBelow(server.data);
  const writes = flags['no-push'] ? NOTHING_PUSHED : await measureWrites(server, corpus);
  const after = server.data === undefined ? NO_FOLDER : blocksBelow(server.data);
  const queries = flags.suite === undefined ? await measureQueries(server, corpus) : [];
  console.log(`  VmHWM ${memoryMib(server.pids, 'VmHWM').toFixed(0)} MiB since its start`);
  return {
    server: server.name,
    ...writes,
    bytesPerSpan: (after.bytes - before.bytes) / corpus.spans,
    blocks: after.blocks - before.blocks,
    queries,
  };
}

async function main(): Promise<void> {
  const corpus = readCorpus(required('corpus'), flags.spans === undefined ? undefined : Number(flags.spans));
  const tables: string[] = [];
  const isLoad = Number(flags['load-sec']) > 0;
  const isSuiteOnly = flags['no-push'] && flags.suite !== undefined;
  if (isLoad) tables.push(await underLoad(servers(), corpus));
  else if (!isSuiteOnly) {
    const all: Figures[] = [];
    for (const server of servers()) all.push(await measure(server, corpus));
    tables.push(figuresTable(all));
  }
  if (flags.suite !== undefined && !isLoad) {
    tables.push(suiteReport(await measureSuites(servers(), flags.suite, corpus)));
  }
  const text = [provenance(corpus), ...tables].join('\n\n');
  console.log(`\n${text}`);
  if (!flags.append) return;
  const title =
    flags.title ??
    servers()
      .map(({ name }) => name)
      .join(' against ');
  appendReport(REPORT_PATH, title, text);
  console.log(`\nadded to ${REPORT_PATH}`);
}

await main();
