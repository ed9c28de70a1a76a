// Keeps a running server busy for an hour, as vulture and users would, and tells whether anything that was
// acknowledged is missing and whether memory stays flat.
// npm run soak -- --url URL --otlp HOST:PORT --pid PID [--for 1h] [--rate SPANS] [--warm-up 20m] [--out CSV]
import { appendFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  type Check,
  checkById,
  checkMetrics,
  checkTagSearch,
  checkTraceqlSearch,
} from '../../cmd/tempo-vulture/checks.ts';
import { knownTrace } from '../../cmd/tempo-vulture/known-trace.ts';
import { vultureOptions } from '../../cmd/tempo-vulture/options.ts';
import { Vulture } from '../../cmd/tempo-vulture/vulture.ts';
import { generateTrace } from '../../cmd/tracegen/traces.ts';
import { parseDuration } from '../../src/lib/duration.ts';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { cpuSeconds, memoryMib } from './proc.ts';

const { values: flags } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:3200' },
    otlp: { type: 'string', default: '127.0.0.1:4317' },
    pid: { type: 'string' },
    for: { type: 'string', default: '1h' },
    rate: { type: 'string', default: '1500' },
    'warm-up': { type: 'string', default: '20m' },
    window: { type: 'string', default: '10m' },
    out: { type: 'string' },
  },
});

const SAMPLE_MS = 10_000;
const READ_PAUSE_MS = 500;
const CHECKED_SHARE = 20;
const TICK_MS = 20;

/** What dashboards and people ask for; ID stands for a trace sent a moment ago. */
const READS: readonly string[] = [
  `/api/search?${new URLSearchParams({ q: '{ span.http.status_code = 500 }' }).toString()}`,
  `/api/search?${new URLSearchParams({ q: '{ duration > 100ms && kind = server }' }).toString()}`,
  '/api/traces/ID',
  `/api/search?${new URLSearchParams({ tags: 'service.name=payment' }).toString()}`,
  '/api/v2/search/tags',
  '/api/v2/traces/ID',
  '/api/v2/search/tag/span.user.id/values',
  '/api/search/tag/service.name/values',
  `/api/search?${new URLSearchParams({ q: '{ status = error } >> { kind = client }' }).toString()}`,
  `/api/metrics/query_range?${new URLSearchParams({ q: '{} | rate() by (status)' }).toString()}`,
  `/api/metrics/query?${new URLSearchParams({ q: '{} | quantile_over_time(duration, .9)' }).toString()}`,
  '/metrics',
];

interface Sample {
  readonly minute: number;
  readonly rssMib: number;
  readonly cpuSec: number;
}

interface SentTrace {
  readonly traceId: string;
  readonly spans: number;
}

interface Load {
  spans: number;
  traces: number;
  failures: number;
  reads: number;
  readFailures: number;
  last: SentTrace | undefined;
  /** Read back at the end. */
  readonly kept: SentTrace[];
}

async function push(load: Load, signal: AbortSignal): Promise<void> {
  let client = await connectOtlp(`http://${flags.otlp}`);
  const beganMs = performance.now();
  while (!signal.aborted) {
    const due = ((performance.now() - beganMs) / 1000) * Number(flags.rate);
    if (load.spans >= due) {
      await sleep(TICK_MS);
      continue;
    }
    const { traceId, spans, request } = generateTrace();
    load.spans += spans;
    try {
      const { rejectedSpans, message } = await client.send(request);
      if (rejectedSpans > 0) throw new Error(`${rejectedSpans} spans rejected: ${message}`);
      load.last = { traceId, spans };
      if (load.traces++ % CHECKED_SHARE === 0) load.kept.push(load.last);
    } catch (err) {
      load.failures++;
      console.log(`push: ${String(err)}`);
      client.close();
      client = await connectOtlp(`http://${flags.otlp}`);
    }
  }
  client.close();
}

async function read(load: Load, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(READ_PAUSE_MS);
    if (load.last === undefined) continue;
    const path = (READS[load.reads++ % READS.length] ?? '').replace('ID', load.last.traceId);
    try {
      const response = await fetch(flags.url + path);
      const text = await response.text();
      if (!response.ok) throw new Error(`status ${response.status}: ${text}`);
    } catch (err) {
      load.readFailures++;
      console.log(`read: ${path}: ${String(err)}`);
    }
  }
}

async function sample(pid: number, samples: Sample[], signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  while (!signal.aborted) {
    const minute = (performance.now() - beganMs) / 60_000;
    const taken: Sample = { minute, rssMib: memoryMib([pid], 'VmRSS'), cpuSec: cpuSeconds([pid]) };
    samples.push(taken);
    if (flags.out !== undefined) {
      const { rssMib, cpuSec } = taken;
      appendFileSync(flags.out, `${minute.toFixed(2)},${rssMib.toFixed(1)},${cpuSec.toFixed(2)}\n`);
    }
    await sleep(SAMPLE_MS);
  }
}

/** Mean and peak of each window after the warm-up, and how far the means are apart. */
function tellMemory(samples: readonly Sample[]): void {
  const windowMin = parseDuration(flags.window) / 60_000;
  const warmUpMin = parseDuration(flags['warm-up']) / 60_000;
  const windows = Map.groupBy(samples, ({ minute }) => Math.floor(minute / windowMin));
  const means: number[] = [];
  console.log('\n| minutes | mean RSS MiB | least | most |\n| --- | ---: | ---: | ---: |');
  for (const [at, group] of windows) {
    const sizes = group.map(({ rssMib }) => rssMib);
    const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
    const isWhole = (at + 1) * windowMin <= parseDuration(flags.for) / 60_000;
    if (at * windowMin >= warmUpMin && isWhole) means.push(mean);
    const range = `${Math.min(...sizes).toFixed(0)} | ${Math.max(...sizes).toFixed(0)}`;
    console.log(`| ${at * windowMin} to ${(at + 1) * windowMin} | ${mean.toFixed(0)} | ${range} |`);
  }
  const [least, most] = [Math.min(...means), Math.max(...means)];
  console.log(`\nRSS after ${flags['warm-up']}: means of ${least.toFixed(0)} to ${most.toFixed(0)} MiB,`);
  console.log(`${((most / least - 1) * 100).toFixed(1)} % apart`);
}

async function checkKept(kept: readonly SentTrace[]): Promise<number> {
  let missing = 0;
  for (const { traceId, spans } of kept) {
    const response = await fetch(`${flags.url}/api/traces/${traceId}`);
    const text = await response.text();
    const found = text.match(/"spanId"/g)?.length ?? 0;
    if (response.ok && found === spans) continue;
    missing++;
    console.log(`${traceId}: status ${response.status}, ${found} of ${spans} spans`);
  }
  return missing;
}

async function checkVulture(vulture: Vulture): Promise<{ readonly checks: number; readonly wrong: number }> {
  const all: readonly Check[] = [checkById, checkTagSearch, checkTraceqlSearch, checkMetrics];
  let [checks, wrong] = [0, 0];
  for (const timestampMs of vulture.written.settled(Date.now())) {
    for (const check of all) {
      checks++;
      if ((await vulture.check(check, knownTrace(timestampMs, ''))) !== undefined) wrong++;
    }
  }
  return { checks, wrong };
}

async function main(): Promise<void> {
  const pid = Number(flags.pid);
  if (!Number.isInteger(pid)) throw new Error('--pid is missing; see the head of test/bench/soak.ts');
  if (flags.out !== undefined) writeFileSync(flags.out, 'minute,rss_mib,cpu_sec\n');
  const options = vultureOptions([
    `-tempo-query-url=${flags.url}`,
    `-tempo-push-url=${flags.otlp}`,
    '-tempo-write-backoff-duration=2s',
    '-tempo-long-write-backoff-duration=5s',
    '-tempo-read-backoff-duration=1s',
    '-tempo-search-backoff-duration=2s',
    '-tempo-metrics-backoff-duration=2s',
    '-tempo-recent-traces-backoff-duration=5m',
  ]);
  if (options === undefined) throw new Error('no options');
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (text) => console.log(text.trim()) });
  const metrics = new Metrics();
  const vulture = new Vulture({ options, accessToken: undefined, logger, metrics });
  const load: Load = {
    spans: 0,
    traces: 0,
    failures: 0,
    reads: 0,
    readFailures: 0,
    last: undefined,
    kept: [],
  };
  const samples: Sample[] = [];
  const cpuBefore = cpuSeconds([pid]);
  const signal = AbortSignal.timeout(parseDuration(flags.for));
  await Promise.all([
    vulture.run(signal),
    push(load, signal),
    read(load, signal),
    sample(pid, samples, signal),
  ]);
  const cpuSec = cpuSeconds([pid]) - cpuBefore;
  await sleep(options.longWriteBackoffMs);
  const missing = await checkKept(load.kept);
  const { checks, wrong } = await checkVulture(vulture);
  console.log(`\n${(await metrics.text()).match(/^tempo_vulture.*$/gm)?.join('\n') ?? ''}\n`);
  console.log(`pushed: ${load.spans} spans in ${load.traces} traces, ${load.failures} requests refused`);
  console.log(`read: ${load.reads} requests, ${load.readFailures} failed`);
  console.log(`at the end: ${missing} of ${load.kept.length} traces sent are not whole by id,`);
  console.log(`${wrong} of ${checks} checks of the ${vulture.written.count} known traces failed`);
  console.log(`CPU ${cpuSec.toFixed(0)} s, peak RSS ${memoryMib([pid], 'VmHWM').toFixed(0)} MiB`);
  tellMemory(samples);
  if (load.failures + load.readFailures + missing + wrong > 0) process.exitCode = 1;
}

await main();
