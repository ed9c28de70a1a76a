// The way of a request through the distributor: tenant, byte rate, wire scan, push. Whole requests are
// refused with an error, single spans by partial success.
import { setTimeout as pause } from 'node:timers/promises';
import type { Pusher, PushRequest, PushResult } from '../../contracts/push.ts';
import { RetryLaterError, TempoError } from '../../lib/errors.ts';
import { cutBadSpans, scanRequest } from '../../model/otlp/scan.ts';
import { TraceRuns } from '../../model/otlp/trace-runs.ts';
import { tenantOfHeader } from '../../model/tenant.ts';
import type { Consumed, IncomingTraces, TraceConsumer } from '../../receivers/receiver.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { DistributorMetrics } from './metrics.ts';
import { type RateLimit, RateLimiter } from './rate-limiter.ts';
import type { SpanLog } from './span-log.ts';
import type { CostAttribution, UsageTracker } from './usage-tracker.ts';

export interface TenantLimits {
  readonly ingestionRateLimitBytes: number;
  readonly ingestionBurstSizeBytes: number;
  /** The rate is meant for all distributors together; this one is all there are. */
  readonly isRateGlobal: boolean;
  readonly retryInfoEnabled: boolean;
  readonly forwarders: readonly string[];
  /** Shortest time of a push; undefined = the module's. */
  readonly artificialDelayMs: number | undefined;
  /** Whoever keeps the spans limits traces, so it needs to know which a request holds. */
  readonly limitsTraces: boolean;
  readonly costAttribution: CostAttribution;
}

export interface DistributorOptions {
  readonly limits: (tenant: string) => TenantLimits;
  readonly multitenancyEnabled: boolean;
  /** Throws when a request of that size may not come in now. */
  readonly admit: (sizeBytes: number) => void;
  readonly pusher: Pusher;
  /** Gives copies of what was kept to others. */
  readonly forward: (tenant: string, forwarders: readonly string[], body: Uint8Array) => void;
  readonly metrics: DistributorMetrics;
  readonly spanLog: SpanLog;
  /** undefined = nobody asks whose bytes they are. */
  readonly usage: UsageTracker | undefined;
  /** Gets a line for each request that is refused. */
  readonly refusals: Logger;
  /** Shortest time of a push where the tenant has none of its own. */
  readonly artificialDelayMs: number;
  /** Distributors that share the rates of tenants whose strategy is global, this one included. */
  readonly distributorsCount: () => number;
  /** RetryInfo of rate limited requests; 0 = none. */
  readonly retryAfterMs: number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/**
 * A full memory budget drains within about this time; without RetryInfo OTLP clients would drop what they
 * hold.
 */
const MEMORY_RETRY_MS = 1000;

const DELAY_JITTER = 0.1;

/** What Tempo's ingesters call the reasons. */
const PUSH_ERRORS: Readonly<Record<string, string>> = {
  live_traces_exceeded: 'MAX_LIVE_TRACES',
  trace_too_large: 'TRACE_TOO_LARGE',
};

const ALL_KEPT: Consumed = { rejectedSpans: 0, message: '' };

export class Distributor implements TraceConsumer {
  readonly #options: DistributorOptions;
  readonly #limiter: RateLimiter;
  readonly #runs = new TraceRuns();

  constructor(options: DistributorOptions) {
    this.#options = options;
    this.#limiter = new RateLimiter(options.nowMs);
    options.metrics.onForget((tenants) => this.#limiter.forget(tenants));
  }

  async consume(traces: IncomingTraces): Promise<Consumed> {
    const { metrics, multitenancyEnabled } = this.#options;
    metrics.pushes.inc();
    try {
      const tenant = tenantOfHeader(traces.tenantHeader, multitenancyEnabled);
      this.#options.admit(traces.body.length);
      const delayMs = this.#options.limits(tenant).artificialDelayMs ?? this.#options.artificialDelayMs;
      if (delayMs > 0) return await this.#consumeSlowly(tenant, traces, delayMs);
      return await this.#consumeOf(tenant, traces);
    } catch (err) {
      this.#options.refusals.error('pusher failed to consume trace data', { err });
      metrics.pushErrors.inc();
      metrics.receivers[traces.transport].refused.inc(spanCountOf(traces.body));
      throw err;
    }
  }

  /** Answers no earlier than the delay, give or take a tenth. */
  async #consumeSlowly(tenant: string, traces: IncomingTraces, delayMs: number): Promise<Consumed> {
    const { metrics, nowMs } = this.#options;
    const startMs = nowMs();
    try {
      return await this.#consumeOf(tenant, traces);
    } finally {
      const restMs = Math.max(0, delayMs - (nowMs() - startMs));
      metrics.addedSeconds.observe({ tenant }, restMs / 1000);
      await pause(restMs * (1 + DELAY_JITTER * (2 * Math.random() - 1)));
    }
  }

  async #consumeOf(tenant: string, { body, transport }: IncomingTraces): Promise<Consumed> {
    const { metrics, nowMs } = this.#options;
    const counters = metrics.ofTenant(tenant);
    counters.ingressBytes.inc(body.length);
    const { limits: limitsOf, spanLog } = this.#options;
    const limits = limitsOf(tenant);
    this.#limit(tenant, limits, body);
    const runs = limits.limitsTraces ? this.#runs : undefined;
    const sink = this.#options.pusher.layout ?? runs;
    const { spanCount, badTraceIds, badSpanIds, message } = scanRequest(body, sink);
    if (spanCount === 0) return ALL_KEPT;
    spanLog.received(tenant, body);
    metrics.discard(tenant, 'invalid_trace_id', badTraceIds);
    metrics.discard(tenant, 'invalid_span_id', badSpanIds);
    const badCount = badTraceIds + badSpanIds;
    if (badCount > 0) spanLog.discarded(tenant, body);
    if (badCount === spanCount) throw new TempoError('invalid_argument', message);
    const goodBody = badCount === 0 ? body : cutBadSpans(body);
    const goodCount = spanCount - badCount;
    if (badCount > 0 && sink !== undefined) scanRequest(goodBody, sink);
    counters.bytesReceived.inc(goodBody.length);
    counters.spansReceived.inc(goodCount);
    const startMs = nowMs();
    const namesRejected = spanLog.wantsDiscarded;
    const request = { tenant, body: goodBody, spanCount: goodCount, traces: runs, namesRejected };
    const result = await this.#push(request);
    for (const { reason, traceIds } of result.rejected) {
      if (traceIds !== undefined)
        spanLog.discarded(tenant, goodBody, PUSH_ERRORS[reason] ?? reason, traceIds);
    }
    metrics.pushSeconds.observe((nowMs() - startMs) / 1000);
    metrics.receivers[transport].accepted.inc(goodCount);
    this.#options.usage?.observe(tenant, limits.costAttribution, goodBody);
    if (limits.forwarders.length > 0) this.#options.forward(tenant, limits.forwarders, goodBody);
    return this.#consumed(tenant, badCount, message, result);
  }

  async #push(request: PushRequest): Promise<PushResult> {
    try {
      return await this.#options.pusher.push(request);
    } catch (err) {
      const isBusy = err instanceof TempoError && err.code === 'resource_exhausted';
      if (!isBusy || err instanceof RetryLaterError) throw err;
      throw new RetryLaterError(err.code, err.message, MEMORY_RETRY_MS, err);
    }
  }

  #consumed(tenant: string, badCount: number, badMessage: string, result: PushResult): Consumed {
    if (badCount === 0 && result.rejected.length === 0) return ALL_KEPT;
    let rejectedSpans = badCount;
    const messages = badCount === 0 ? [] : [badMessage];
    for (const { reason, spanCount, message } of result.rejected) {
      this.#options.metrics.discard(tenant, reason, spanCount);
      rejectedSpans += spanCount;
      messages.push(message);
    }
    return { rejectedSpans, message: messages.join('; ') };
  }

  /** Throws when the tenant sends more than its rate. */
  #limit(tenant: string, limits: TenantLimits, body: Uint8Array): void {
    const { ingestionRateLimitBytes: allBytes, isRateGlobal } = limits;
    const limit: RateLimit = {
      rateBytes: isRateGlobal ? allBytes / Math.max(1, this.#options.distributorsCount()) : allBytes,
      burstBytes: limits.ingestionBurstSizeBytes,
    };
    if (this.#limiter.take(tenant, limit, body.length)) return;
    this.#options.metrics.discard(tenant, 'rate_limited', spanCountOf(body));
    const { rateBytes, burstBytes } = limit;
    const local = `local: ${Math.floor(rateBytes)} bytes/s, global: ${isRateGlobal ? allBytes : 0} bytes/s`;
    const known = `(${local}, burst: ${burstBytes} bytes)`;
    const adding = `while adding ${body.length} bytes for user ${tenant}`;
    if (body.length > burstBytes) {
      // It will never pass, unless nothing may: then somebody has to set a limit first.
      throw new TempoError(
        burstBytes > 0 ? 'too_large' : 'resource_exhausted',
        `RATE_LIMITED: batch size (${body.length} bytes) exceeds ingestion limit ${known} ${adding}. ` +
          'consider reducing batch size or increasing rate limit.',
      );
    }
    const message =
      `RATE_LIMITED: ingestion rate limit ${known} exceeded ${adding}. ` +
      'consider increasing the limit or reducing ingestion rate.';
    const { retryAfterMs } = this.#options;
    if (retryAfterMs > 0 && limits.retryInfoEnabled)
      throw new RetryLaterError('resource_exhausted', message, retryAfterMs);
    throw new TempoError('resource_exhausted', message);
  }
}

/** Spans of a refused request, for counters only; 0 when it cannot be read. */
function spanCountOf(body: Uint8Array): number {
  try {
    return scanRequest(body).spanCount;
  } catch {
    return 0;
  }
}
