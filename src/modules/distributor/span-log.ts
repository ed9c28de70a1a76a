// Lines and counters about single spans, each off unless configured: log_received_spans, log_discarded_spans
// and metric_received_spans. They decode requests on the main thread, which costs more than taking them in.
import { SPAN_ID_BYTES, TRACE_ID_BYTES } from '../../model/ids.ts';
import { type ReadSpan, readSpans } from '../../model/otlp/span-reader.ts';
import type { LogFields, Logger } from '../../telemetry/log.ts';
import type { Counter } from '../../telemetry/metrics.ts';

export interface LogSpansSettings {
  readonly enabled: boolean;
  readonly includeAllAttributes: boolean;
  readonly filterByStatusError: boolean;
}

export interface MetricSpansSettings {
  readonly enabled: boolean;
  readonly rootOnly: boolean;
}

export interface SpanLogOptions {
  readonly received: LogSpansSettings;
  readonly discarded: LogSpansSettings;
  readonly counted: MetricSpansSettings;
  readonly logger: Logger;
  /** By tenant, name and service. */
  readonly spans: Counter;
}

const STATUS_ERROR = 2;
const STATUSES = ['STATUS_CODE_UNSET', 'STATUS_CODE_OK', 'STATUS_CODE_ERROR'];
const KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
/** Label values come from strangers. */
const SERIES_MAX = 10_000;

export class SpanLog {
  readonly #options: SpanLogOptions;
  /** By tenant: names and services. */
  readonly #series = new Map<string, Set<string>>();
  #seriesCount = 0;

  constructor(options: SpanLogOptions) {
    this.#options = options;
  }

  /** Whether whoever refuses spans has to say which. */
  get wantsDiscarded(): boolean {
    return this.#options.discarded.enabled;
  }

  received(tenant: string, body: Uint8Array): void {
    const { received, counted, logger } = this.#options;
    if (!received.enabled && !counted.enabled) return;
    readSpans(body, (span) => {
      if (received.enabled) logSpan(logger, 'received', span, received, {});
      if (counted.enabled && !(counted.rootOnly && span.parentSpanId !== '')) this.#count(tenant, span);
    });
  }

  /** @param traceIds of the spans that were discarded, in hex; without it, those whose ids are bad. */
  discarded(tenant: string, body: Uint8Array, reason?: string, traceIds?: ReadonlySet<string>): void {
    const { discarded, logger } = this.#options;
    if (!discarded.enabled) return;
    const fields = reason === undefined ? { tenant } : { push_error_reason: reason, tenant };
    readSpans(body, (span) => {
      const isMeant = traceIds === undefined ? hasBadId(span) : traceIds.has(span.traceId);
      if (isMeant) logSpan(logger, 'discarded', span, discarded, fields);
    });
  }

  /** The time series of these tenants are gone: there is room for others. */
  forget(tenants: ReadonlySet<string>): void {
    for (const tenant of tenants) {
      this.#seriesCount -= this.#series.get(tenant)?.size ?? 0;
      this.#series.delete(tenant);
    }
  }

  #count(tenant: string, { name, resource }: ReadSpan): void {
    const service = resource.find(([key]) => key === 'service.name')?.[1] ?? '';
    const id = JSON.stringify([name, service]);
    let known = this.#series.get(tenant);
    if (known?.has(id) !== true) {
      if (this.#seriesCount >= SERIES_MAX) return;
      if (known === undefined) this.#series.set(tenant, (known = new Set()));
      known.add(id);
      this.#seriesCount++;
    }
    this.#options.spans.inc({ tenant, name, service });
  }
}

function hasBadId({ traceId, spanId }: ReadSpan): boolean {
  const isBad = (id: string, bytes: number): boolean => id.length !== bytes * 2 || /^0*$/.test(id);
  return isBad(traceId, TRACE_ID_BYTES) || isBad(spanId, SPAN_ID_BYTES);
}

function logSpan(
  logger: Logger,
  msg: string,
  span: ReadSpan,
  { includeAllAttributes, filterByStatusError }: LogSpansSettings,
  fixed: LogFields,
): void {
  if (filterByStatusError && span.status !== STATUS_ERROR) return;
  const fields: Record<string, unknown> = { ...fixed };
  if (includeAllAttributes) {
    for (const [key, value] of [...span.resource, ...span.attributes])
      fields[`span_${labelName(key)}`] = value;
    fields['span_name'] = span.name;
    fields['span_duration_seconds'] = Number(span.endUnixNano - span.startUnixNano) / 1e9;
    fields['span_kind'] = KINDS[span.kind] === undefined ? span.kind : `SPAN_KIND_${KINDS[span.kind]}`;
    fields['span_status'] = STATUSES[span.status] ?? span.status;
  }
  logger.info(msg, { ...fields, spanid: span.spanId, traceid: span.traceId });
}

/** A key as a label of Prometheus can be: letters, digits, underscores. */
function labelName(key: string): string {
  return key.replace(/[^A-Za-z0-9_]/g, '_');
}
