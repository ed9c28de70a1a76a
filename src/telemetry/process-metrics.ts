// Metrics of the process itself: Node's usual ones, and how busy the main thread is, which bounds the whole
// process.
import { Counter, Gauge, collectDefaultMetrics } from 'prom-client';
import type { Metrics } from './metrics.ts';

/** A timer is set every so often; how late it fires is the delay of the event loop. */
const PROBE_INTERVAL_MS = 50;

/**
 * Of Node's own histogram of delays, which has a timer of its own: with the usual 10 ms a process that has
 * nothing to do takes 1.0 % of a core, with 25 ms 0.8 %.
 */
const NODE_PROBE_MS = 25;

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
  let due = performance.now() + PROBE_INTERVAL_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    delay.observe(Math.max(0, now - due) / 1000);
    due = now + PROBE_INTERVAL_MS;
  }, PROBE_INTERVAL_MS);
  timer.unref();
  return () => clearInterval(timer);
}
