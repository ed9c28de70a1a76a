// The loops of vulture: one writes known traces, others read old and recent ones back and count what is
// wrong. Runs until it is aborted.
import { setTimeout as sleep } from 'node:timers/promises';
import { basicAuthorization, TempoApi } from './tempo-api.ts';
import { connectOtlp, type OtlpClient } from '../../src/rpc/otlp-client.ts';
import type { Logger } from '../../src/telemetry/log.ts';
import type { Counter, Metrics } from '../../src/telemetry/metrics.ts';
import {
  type Check,
  checkById,
  checkMetrics,
  checkTagSearch,
  checkTraceqlSearch,
  type Problem,
  PROBLEM_KINDS,
} from './checks.ts';
import { type KnownTrace, knownTrace, requestOf } from './known-trace.ts';
import type { VultureOptions } from './options.ts';
import { WrittenTraces } from './written-traces.ts';

export interface VultureParts {
  readonly options: VultureOptions;
  readonly accessToken: string | undefined;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Long traces whose later parts are still to come; more are written without waiting for them. */
const LONG_WRITES_MAX = 1000;

export class Vulture {
  readonly written: WrittenTraces;
  private readonly options: VultureOptions;
  private readonly accessToken: string | undefined;
  private readonly logger: Logger;
  private readonly api: TempoApi;
  private readonly errors: Counter;
  private readonly traces: Counter;
  private readonly traceErrors: Counter;
  private readonly longWrites = new Set<Promise<void>>();
  private client: Promise<OtlpClient> | undefined;

  constructor({ options, accessToken, logger, metrics }: VultureParts) {
    this.options = options;
    this.accessToken = accessToken;
    this.logger = logger;
    this.api = new TempoApi({ ...options, accessToken });
    this.written = new WrittenTraces({
      retentionMs: options.retentionMs,
      recentMs: options.recentMs,
      settleMs: options.longWriteBackoffMs,
      random: Math.random,
    });
    this.errors = metrics.counter('tempo_vulture_error_total', 'Writes and queries that failed.');
    this.traces = metrics.counter('tempo_vulture_trace_total', 'Checks of written traces.');
    this.traceErrors = metrics.counter(
      'tempo_vulture_trace_error_total',
      'Checks that found something wrong, by what it was.',
      ['error'],
    );
    for (const error of PROBLEM_KINDS) this.traceErrors.inc({ error }, 0);
  }

  /** Resolves after the abort. */
  async run(signal: AbortSignal): Promise<void> {
    const { readBackoffMs, searchBackoffMs, metricsBackoffMs, writeBackoffMs } = this.options;
    const loops: Promise<void>[] = [every(writeBackoffMs, signal, () => this.writeNext(signal))];
    for (const age of ['recent', 'old'] as const) {
      const loop = (backoffMs: number, ...checks: readonly Check[]): void => {
        if (backoffMs > 0) loops.push(every(backoffMs, signal, () => this.checkSome(age, checks)));
      };
      loop(readBackoffMs, checkById);
      loop(searchBackoffMs, checkTagSearch, checkTraceqlSearch);
      loop(metricsBackoffMs, checkMetrics);
    }
    await Promise.all(loops);
    await Promise.all(this.longWrites);
    (await this.client)?.close();
  }

  /** Writes all of a trace, with pauses between its parts. @returns false when a part was refused. */
  async write(trace: KnownTrace, signal: AbortSignal, pauseMs: number): Promise<boolean> {
    for (const [at, batches] of trace.writes.entries()) {
      if (at > 0) await sleep(pauseMs, undefined, { signal });
      for (const batch of batches) {
        if (!(await this.push(trace, requestOf(trace, batch)))) return false;
      }
    }
    this.written.add(trace.timestampMs, Date.now());
    return true;
  }

  /** Runs one check, counts it and logs what is wrong. */
  async check(check: Check, trace: KnownTrace): Promise<Problem | undefined> {
    const problem = await check(this.api, trace);
    this.traces.inc();
    if (problem === undefined) return undefined;
    this.traceErrors.inc({ error: problem.kind });
    if (problem.kind === 'requestfailed') this.errors.inc();
    this.logger.error('trace is not as it was written', {
      error: problem.kind,
      trace: trace.traceId,
      seed: trace.timestampMs,
      age_ms: Date.now() - trace.timestampMs,
      detail: problem.detail,
    });
    return problem;
  }

  private async writeNext(signal: AbortSignal): Promise<void> {
    const { writeBackoffMs, longWriteBackoffMs, tenant } = this.options;
    const timestampMs = Math.round(Date.now() / writeBackoffMs) * writeBackoffMs;
    const trace = knownTrace(timestampMs, tenant);
    const writing = this.write(trace, signal, longWriteBackoffMs)
      .then((isWritten) => {
        if (isWritten) this.logger.debug('trace written', { trace: trace.traceId, seed: timestampMs });
      })
      .catch((err: unknown) => {
        if (!signal.aborted) throw err;
      })
      .finally(() => this.longWrites.delete(writing));
    this.longWrites.add(writing);
    if (trace.writes.length === 1 || this.longWrites.size > LONG_WRITES_MAX) await writing;
  }

  /** @returns false when it failed; then the connection is made anew for the next. */
  private async push({ traceId }: KnownTrace, request: Uint8Array): Promise<boolean> {
    const { tenant, pushUrl } = this.options;
    try {
      this.client ??= connectOtlp(pushUrl, { tenant, authorization: this.authorization() });
      const client = await this.client;
      const { rejectedSpans, message } = await client.send(request);
      if (rejectedSpans === 0) return true;
      throw new Error(`${rejectedSpans} spans rejected: ${message}`);
    } catch (err) {
      this.errors.inc();
      this.logger.error('write failed', { trace: traceId, url: pushUrl, err });
      const client = this.client;
      this.client = undefined;
      client?.then(
        (failed) => failed.close(),
        () => undefined, // told above: it could not be opened
      );
      return false;
    }
  }

  private authorization(): string | undefined {
    return this.accessToken === undefined
      ? undefined
      : basicAuthorization(this.options.tenant, this.accessToken);
  }

  private async checkSome(age: 'recent' | 'old', checks: readonly Check[]): Promise<void> {
    const timestampMs = this.written.pick(age, Date.now());
    if (timestampMs === undefined) return;
    const trace = knownTrace(timestampMs, this.options.tenant);
    for (const check of checks) await this.check(check, trace);
  }
}

/** Calls again and again with pauses until it is aborted. */
async function every(pauseMs: number, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await sleep(pauseMs, undefined, { signal }).catch((err: unknown) => {
      if (!signal.aborted) throw err;
    });
    if (!signal.aborted) await work();
  }
}
