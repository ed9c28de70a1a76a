// Metrics of the process itself: Node's usual ones, and how busy the main thread is, which bounds the whole
// process.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { Counter, Gauge, collectDefaultMetrics, type Registry } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** A timer is set every so often; how late it fires is the delay of the event loop. */
const PROBE_INTERVAL_MS = 50;

/**
 * Node's own histogram of delays has a timer of its own, which is most of what a process with nothing to do
 * takes: 40 times a second at 25 ms. It is set to fire never, and the probe gives its metrics.
 */
const NODE_PROBE_MS = 0x7f_ff_ff_ff;

const NANOS_IN_SECOND = 1e9;
const LONGEST_DELAY_NS = 3600 * NANOS_IN_SECOND;

/** `nodejs_eventloop_lag_*`, as the metrics library names them, since the last scrape. */
const NODE_DELAYS: Readonly<Record<string, [help: string, nanos: (delays: RecordableHistogram) => number]>> =
  {
    min: ['The minimum recorded event loop delay.', (delays) => delays.min],
    max: ['The maximum recorded event loop delay.', (delays) => delays.max],
    mean: ['The mean of the recorded event loop delays.', (delays) => delays.mean],
    stddev: ['The standard deviation of the recorded event loop delays.', (delays) => delays.stddev],
    p50: ['The 50th percentile of the recorded event loop delays.', (delays) => delays.percentile(50)],
    p90: ['The 90th percentile of the recorded event loop delays.', (delays) => delays.percentile(90)],
    p99: ['The 99th percentile of the recorded event loop delays.', (delays) => delays.percentile(99)],
  };

const DELAY_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];

/** @returns stops the probe. */
export function observeProcess(metrics: Metrics, version: string, revision: string): () => void {
  const { registry } = metrics;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NODE_PROBE_MS });
  new Gauge({
    name: 'tempo_build_info',
    help: 'Version of the program, constant 1.',
    labelNames: ['branch', 'goarch', 'goos', 'goversion', 'revision', 'tags', 'version'],
    registers: [registry],
  }).set(
    {
      branch: '',
      goarch: process.arch,
      goos: process.platform,
      goversion: process.version,
      revision,
      tags: 'unknown',
      version,
    },
    1,
  );
  mainThreadCpu(metrics);
  return probeEventLoop(metrics);
}

function mainThreadCpu(metrics: Metrics): void {
  new Counter({
    name: 'tempo_main_thread_cpu_seconds_total',
    help: 'CPU time of the main thread, user and system.',
    registers: [metrics.registry],
    collect() {
      const { user, system } = process.threadCpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}

function probeEventLoop(metrics: Metrics): () => void {
  const delay = metrics.histogram(
    'tempo_main_thread_event_loop_delay_seconds',
    'How late timers of the main thread fire.',
    DELAY_BUCKETS,
  );
  const record = nodeDelays(metrics.registry);
  let due = performance.now() + PROBE_INTERVAL_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    const lateSeconds = Math.max(0, now - due) / 1000;
    delay.observe(lateSeconds);
    record(lateSeconds);
    due = now + PROBE_INTERVAL_MS;
  }, PROBE_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Takes the place of the library's metrics of delays. @returns what a delay is told to. */
function nodeDelays(registry: Registry): (seconds: number) => void {
  const delays = createHistogram({ figures: 2, highest: LONGEST_DELAY_NS });
  let lastSeconds = 0;
  const replace = (kind: string, help: string, collect?: () => void): Gauge => {
    const name = `nodejs_eventloop_lag_${kind}seconds`;
    registry.removeSingleMetric(name);
    return new Gauge({ name, help, registers: [registry], ...(collect && { collect }) });
  };
  // Metrics are collected in the order they were made in, and this one sets the others.
  const last = replace('', 'Lag of event loop in seconds.', () => {
    last.set(lastSeconds);
    if (delays.count > 0) for (const { gauge, nanos } of gauges) gauge.set(nanos(delays) / NANOS_IN_SECOND);
    delays.reset();
  });
  const gauges = Object.entries(NODE_DELAYS).map(([kind, [help, nanos]]) => ({
    gauge: replace(`${kind}_`, help),
    nanos,
  }));
  return (seconds) => {
    lastSeconds = seconds;
    delays.record(Math.min(LONGEST_DELAY_NS, Math.max(1, Math.round(seconds * NANOS_IN_SECOND))));
  };
}
