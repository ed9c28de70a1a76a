// The kinds of sources that the scripts of test/traceql run over: spans in a head, in a log that is read
// again, in a block, in one that was compacted, and in several of these at once.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { FrameType } from '../../src/store/log/frame.ts';
import { openLog } from '../../src/store/log/open.ts';
import { listSegments, readSegment } from '../../src/store/log/segment.ts';
import { firstFound, unpackFound } from '../../src/store/pack.ts';
import type {
  FinishMetricsJobResult,
  MetricsJobResult,
  ScanJob,
  ScanResult,
  ScanSource,
  SearchJobResult,
  SharedTracesJobResult,
  WholeTraces,
} from '../../src/store/scan-job.ts';
import { type AskMetrics, seriesOfJson, seriesOfText } from './metrics-script.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { parse } from '../../src/traceql/parser.ts';
import { validate } from '../../src/traceql/validate.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ArraySource } from './array-source.ts';
import { writeBlock, type WriteOptions } from './block-rows.ts';
import { compactWritten } from './compacting.ts';
import { encodeTraces, type TestSpan } from './otlp.ts';
import { asBlock, asHead } from './scan-sources.ts';
import { type Answering, answeringOf, type Search } from './traceql-script.ts';

const HEAD_BYTES = 1 << 24;
const LIMIT = 1000;
/** Some of everything, however few spans there are. */
const SMALL_PAGES = { pageRows: 2, rowGroupSpans: 20 };
const SCRIPT_COLUMNS = [
  ['resource', 's', 'string'],
  ['resource', 'i', 'int'],
  ['span', 's', 'string'],
  ['span', 'i', 'int'],
  ['span', 'ls', 'string'],
  ['span', 'li', 'int'],
  ['span', 'is', 'int'],
  ['span', 'ss', 'string'],
  ['span', 'any', 'string'],
  ['span', 'http.status_code', 'int'],
  ['span', 'http.method', 'string'],
  ['event', 's', 'string'],
  ['event', 'ls', 'string'],
  ['event', 'i', 'int'],
] as const;
/** With columns of their own for attributes that scripts and random spans have. */
const VPARQUET5: WriteOptions = {
  format: 'vParquet5',
  dedicatedColumns: SCRIPT_COLUMNS.map(([scope, name, type]) => ({ scope, name, type, options: [] })),
};
const SAMPLES_MAX = 100_000;

type Open = (spans: readonly TestSpan[]) => Answering | Promise<Answering>;

export const SCRIPT_SOURCES: Readonly<Record<string, Open>> = {
  array: (spans) => answeringOf(new ArraySource(spans)),
  head: (spans) => answeringOf(headOf([encodeTraces(spans)])),
  'a head of many requests': (spans) =>
    answeringOf(headOf(spans.toReversed().map((span) => encodeTraces([span])))),
  'a log read again': async (spans) => answeringOf(headOf(await throughLog(encodeTraces(spans)))),
  'a block': async (spans) => {
    const { backend, over } = scanning();
    return over([await asBlock(backend, 'block', spans, SMALL_PAGES)]);
  },
  'a block of vParquet5': async (spans) => {
    const { backend, over } = scanning();
    return over([await asBlock(backend, 'block', spans, SMALL_PAGES, VPARQUET5)]);
  },
  'a compacted block': (spans) => overCompacted(spans, {}),
  'a compacted block of vParquet5': (spans) => overCompacted(spans, VPARQUET5),
  'two blocks and a head': async (spans) => {
    const { backend, over } = scanning();
    const part = (n: number): TestSpan[] => spans.filter((_, i) => i % 3 === n);
    const sources: ScanSource[] = [await asBlock(backend, 'one', part(0)), asHead('head', part(1))];
    if (spans.length > 2) sources.push(await asBlock(backend, 'two', part(2), {}, VPARQUET5));
    return over(sources);
  },
  'a block for each span': async (spans) => {
    const { backend, over } = scanning();
    return over(await Promise.all(spans.map(async (span, i) => asBlock(backend, `block-${i}`, [span]))));
  },
  'overlapping heads and blocks': async (spans) => {
    const { backend, over } = scanning();
    return over([
      asHead('head', spans.slice(spans.length >> 1)),
      await asBlock(backend, 'all', spans),
      await asBlock(backend, 'some', spans.slice(0, 2)),
    ]);
  },
};

/** A block that was made of three. */
async function overCompacted(spans: readonly TestSpan[], layout: WriteOptions): Promise<Answering> {
  const { backend, over } = scanning();
  const parts = [0, 1, 2].map((n) => spans.filter((_, i) => i % 4 === n || i % 4 === 3));
  const options = { ...SMALL_PAGES, ...layout };
  const inputs = parts.filter((part) => part.length > 0).map((part) => writeBlock([part], options));
  const { meta, objects } = await compactWritten(inputs, SMALL_PAGES);
  for (const [name, bytes] of objects) await backend.write(`${meta.tenantId}/${meta.blockId}/${name}`, bytes);
  return over([{ kind: 'block', meta, location: 'backend' }]);
}

function headOf(requests: readonly Uint8Array[]): HeadSource {
  const builder = new HeadBuilder({ maxBytes: HEAD_BYTES });
  for (const request of requests) builder.append(request, 0, request.length);
  return new HeadSource(new HeadReader(builder.sab), 'head');
}

/** The requests that a log has on disk after one was pushed. */
async function throughLog(request: Uint8Array): Promise<Uint8Array[]> {
  const folder = mkdtempSync(join(tmpdir(), 'traceql-scripts-'));
  try {
    const opened = await openLog({
      path: folder,
      sync: 'never',
      syncIntervalMs: 100,
      ringBytes: HEAD_BYTES,
      ringWaitMs: 1000,
      segmentBytes: HEAD_BYTES,
      format: 1,
      logger: silentLogger,
      metrics: new Metrics(),
      nowMs: Date.now,
      handOver: () => {},
      isComplete: () => Promise.resolve(false),
    });
    await opened.log.push('tenant', request, 1);
    await opened.close();
    const requests: Uint8Array[] = [];
    for (const { path } of listSegments(join(folder, 'log'))) {
      readSegment(path, 'all', ({ header, payload }) => {
        if (header.type === FrameType.push) requests.push(new Uint8Array(payload));
        return undefined;
      });
    }
    return requests;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** As the querier does: first the traces that lie in several sources, then these and the others. */
function scanning(): { backend: MemoryStore; over: (sources: readonly ScanSource[]) => Answering } {
  const backend = new MemoryStore(() => 0);
  const scanner = new Scanner({ local: new MemoryStore(() => 0), backend, cacheBytes: 1 << 20 });
  const { signal } = new AbortController();
  const run = async (job: ScanJob): Promise<ScanResult> => {
    const result = await scanner.run(job, signal);
    if ('failures' in result && result.failures.length > 0) throw new Error(JSON.stringify(result.failures));
    return result;
  };
  const over = (sources: readonly ScanSource[]): Answering => {
    const inputs = async (): Promise<{ apart: ScanSource[]; whole: WholeTraces }> => {
      const shared = await run({ kind: 'sharedTraces', sources, range: [0, 2 ** 32] });
      const { places, without } = shared as SharedTracesJobResult;
      const whole = { name: 'all', version: '1', sources, places, range: [0, places.ends.length] } as const;
      return { apart: sources.map((source, i) => ({ ...source, without: without[i]! })), whole };
    };
    const search: Search = async (text) => {
      validate(parse(text));
      const { apart, whole } = await inputs();
      const range = { startSec: undefined, endSec: undefined };
      const form = { limit: LIMIT, spansPerSpanSet: 0, format: 'json' } as const;
      const result = await run({ kind: 'search', query: text, range, ...form, sources: apart, whole });
      const { found: packed } = result as SearchJobResult;
      const found = unpackFound(packed).map(({ body, ...trace }) => ({ ...trace, json: body }));
      return firstFound(found, LIMIT).map(({ json }) => json);
    };
    /** A job for each source, one for what lies in several, and one that brings their parts together. */
    const metrics: AskMetrics = async ({ text, isInstant, exemplarsMax = 0, ...range }) => {
      validate(parse(text));
      const { apart, whole } = await inputs();
      const asked = { query: text, range, samplesMax: SAMPLES_MAX, exemplarsMax };
      const jobs: ScanJob[] = apart.map((source) => ({ kind: 'metrics', ...asked, sources: [source] }));
      jobs.push({ kind: 'metrics', ...asked, sources: [], whole });
      const parts = [];
      for (const job of jobs) {
        const { part } = (await run(job)) as MetricsJobResult;
        if (part !== undefined) parts.push(part);
      }
      const form = { isInstant, seriesMax: 0, format: 'json' } as const;
      const finished = await run({ kind: 'finishMetrics', ...asked, sources: [], parts, ...form });
      const { bodies, ends, text: series } = finished as FinishMetricsJobResult;
      if (series !== undefined) return seriesOfText(series);
      return seriesOfJson(Array.from(ends, (end, i) => bodies.subarray(i === 0 ? 0 : ends[i - 1], end)));
    };
    return { search, metrics };
  };
  return { backend, over };
}
