// Limits of traces, decided before a request is acknowledged: how many traces of a tenant are live, and how
// large one may get while its head is open. Judges whole traces of a request, as Tempo does.
import type { PushResult } from '../../contracts/push.ts';
import { cutRuns, scanRequest } from '../../model/otlp/scan.ts';
import { RUN_WORDS, RunWord, TraceRuns } from '../../model/otlp/trace-runs.ts';
import { type Lives, TenantTraces } from './tenant-traces.ts';

/** 0 = no limit. */
export interface TraceLimits {
  readonly maxTracesPerUser: number;
  readonly maxGlobalTracesPerUser: number;
  readonly maxBytesPerTrace: number;
}

export interface TraceLimiterOptions {
  readonly limits: (tenant: string) => TraceLimits;
  readonly traceIdlePeriodMs: number;
  readonly traceLivePeriodMs: number;
  /** Of limits that are meant for all ingesters together; 0 = unknown, they wait. */
  readonly globalShare: () => number;
  readonly nowMs: () => number;
}

/** What is left of a request in which spans were refused. */
export interface Remainder {
  /** Empty when nothing is left. */
  readonly body: Uint8Array;
  readonly spanCount: number;
  readonly rejected: PushResult['rejected'];
}

/** Resolution of the clock. */
const TICK_MS = 100;

const KEPT = 0;
const TOO_MANY = 1;
const TOO_LARGE = 2;

export class TraceLimiter {
  readonly #options: TraceLimiterOptions;
  readonly #tenants = new Map<string, TenantTraces>();
  readonly #lives: Lives;
  readonly #startMs: number;
  readonly #spare = new TraceRuns();
  #ordinals = new Int32Array(256);

  constructor(options: TraceLimiterOptions) {
    this.#options = options;
    this.#lives = {
      idle: Math.max(1, Math.ceil(options.traceIdlePeriodMs / TICK_MS)),
      live: Math.max(1, Math.ceil(options.traceLivePeriodMs / TICK_MS)),
    };
    this.#startMs = options.nowMs();
  }

  /** Tenants with traces that are remembered. */
  get tenantCount(): number {
    return this.#tenants.size;
  }

  /**
   * Counts the traces of a request.
   * @returns undefined when all of it may be kept.
   */
  admit(tenant: string, body: Uint8Array, runs: TraceRuns, namesRejected = false): Remainder | undefined {
    const limits = this.#options.limits(tenant);
    const liveMax = liveLimit(limits, this.#options.globalShare());
    const bytesMax = limits.maxBytesPerTrace;
    if (liveMax === 0 && bytesMax === 0) return undefined;
    const traces = this.#tracesOf(tenant);
    const now = this.#now();
    if (this.#ordinals.length < runs.count) this.#ordinals = new Int32Array(runs.words.length / RUN_WORDS);
    const ordinals = this.#ordinals;
    const { words } = runs;
    const firstGroup = traces.takeGroups(runs.groups);
    let isAllKept = true;
    for (let run = 0, at = 0; run < runs.count; run++, at += RUN_WORDS) {
      const ordinal = traces.touch(body, words[at]!, now, liveMax);
      ordinals[run] = ordinal;
      if (ordinal < 0) {
        isAllKept = false;
        continue;
      }
      if (bytesMax === 0) continue;
      const group = (firstGroup + words[at + RunWord.group]!) | 0;
      const sum = traces.addBytes(
        ordinal,
        words[at + RunWord.bytes]!,
        group,
        words[at + RunWord.groupBytes]!,
      );
      if (sum > bytesMax) isAllKept = false;
    }
    return isAllKept ? undefined : this.#remainder(tenant, body, runs, traces, limits, namesRejected);
  }

  /** The request was not kept after all. */
  release(tenant: string, body: Uint8Array): void {
    const traces = this.#tenants.get(tenant);
    if (traces === undefined) return;
    const runs = this.#spare;
    scanRequest(body, runs);
    const { words } = runs;
    for (let run = 0; run < runs.count; run++) {
      const at = run * RUN_WORDS;
      traces.subtractBytes(body, words[at]!, words[at + RunWord.bytes]!);
    }
  }

  /** The tenant has no head now: bytes are counted anew, of traces that are not live at once. */
  headCut(tenant: string): void {
    const traces = this.#tenants.get(tenant);
    if (traces === undefined) return;
    traces.forgetDead(this.#now());
    if (traces.size === 0) this.#tenants.delete(tenant);
  }

  /** Gives memory back; to be called now and then. */
  sweep(): void {
    const now = this.#now();
    for (const [tenant, traces] of this.#tenants) {
      traces.sweep(now, this.#options.limits(tenant).maxBytesPerTrace > 0);
      if (traces.size === 0) this.#tenants.delete(tenant);
    }
  }

  #now(): number {
    return 1 + Math.floor((this.#options.nowMs() - this.#startMs) / TICK_MS);
  }

  #tracesOf(tenant: string): TenantTraces {
    let traces = this.#tenants.get(tenant);
    if (traces === undefined) {
      traces = new TenantTraces(this.#lives);
      this.#tenants.set(tenant, traces);
    }
    return traces;
  }

  /** Second look at a request: a trace that got too large is refused from its first span on. */
  #remainder(
    tenant: string,
    body: Uint8Array,
    runs: TraceRuns,
    traces: TenantTraces,
    limits: TraceLimits,
    namesRejected: boolean,
  ): Remainder {
    const { words } = runs;
    const bytesMax = limits.maxBytesPerTrace > 0 ? limits.maxBytesPerTrace : Infinity;
    const verdicts = new Uint8Array(runs.count);
    const spans = [0, 0, 0];
    let largeRun = -1;
    for (let run = 0; run < runs.count; run++) {
      const ordinal = this.#ordinals[run]!;
      const isLarge = ordinal >= 0 && traces.bytesOf(ordinal) > bytesMax;
      if (isLarge && largeRun < 0) largeRun = run;
      const verdict = ordinal < 0 ? TOO_MANY : isLarge ? TOO_LARGE : KEPT;
      verdicts[run] = verdict;
      spans[verdict]! += words[run * RUN_WORDS + RunWord.spans]!;
    }
    const idsOf = (verdict: number): ReadonlySet<string> | undefined =>
      namesRejected ? traceIdsOf(body, runs, verdicts, verdict) : undefined;
    const rejected = [];
    if (spans[TOO_MANY]! > 0) {
      const message = tooManyText(tenant, limits, this.#options.globalShare());
      const traceIds = idsOf(TOO_MANY);
      rejected.push({ reason: 'live_traces_exceeded', spanCount: spans[TOO_MANY]!, message, traceIds });
    }
    if (largeRun >= 0) {
      const bytes = this.#bytesInRequest(runs, this.#ordinals[largeRun]!);
      const id = Buffer.from(body.subarray(words[largeRun * RUN_WORDS]!).subarray(0, 16)).toString('hex');
      const message =
        `TRACE_TOO_LARGE: max size of trace (${bytesMax}) exceeded while adding ${bytes} bytes ` +
        `to trace ${id} for tenant ${tenant}`;
      const traceIds = idsOf(TOO_LARGE);
      rejected.push({ reason: 'trace_too_large', spanCount: spans[TOO_LARGE]!, message, traceIds });
    }
    const kept = spans[KEPT]!;
    return { body: kept === 0 ? NOTHING : cutRuns(body, runs, verdicts), spanCount: kept, rejected };
  }

  #bytesInRequest(runs: TraceRuns, ordinal: number): number {
    let sum = 0;
    for (let run = 0; run < runs.count; run++) {
      if (this.#ordinals[run] === ordinal) sum += runs.words[run * RUN_WORDS + RunWord.bytes]!;
    }
    return sum;
  }
}

const NOTHING = new Uint8Array(0);

/** Ids of the traces with a verdict, in hex. */
function traceIdsOf(
  body: Uint8Array,
  { count, words }: TraceRuns,
  verdicts: Uint8Array,
  verdict: number,
): ReadonlySet<string> {
  const ids = new Set<string>();
  for (let run = 0; run < count; run++) {
    const at = words[run * RUN_WORDS + RunWord.idAt]!;
    if (verdicts[run] === verdict) ids.add(Buffer.from(body.subarray(at, at + 16)).toString('hex'));
  }
  return ids;
}

function liveLimit(limits: TraceLimits, globalShare: number): number {
  const { maxTracesPerUser: local, maxGlobalTracesPerUser } = limits;
  const global = Math.floor(maxGlobalTracesPerUser * globalShare);
  if (local === 0 || global === 0) return Math.max(local, global);
  return Math.min(local, global);
}

function tooManyText(tenant: string, limits: TraceLimits, globalShare: number): string {
  const { maxTracesPerUser: local, maxGlobalTracesPerUser: global } = limits;
  return (
    `LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant ${tenant}: per-user traces limit ` +
    `(local: ${local} global: ${global} actual local: ${liveLimit(limits, globalShare)}) exceeded`
  );
}
