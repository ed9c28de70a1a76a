// A light load of writes and reads on a cluster that has faults: pushes are sent again until they are
// acknowledged, as a Collector does; each read of something acknowledged is compared with what was sent.
// What is counted is a row of the table in docs/reliability.md.
import { setTimeout as pause } from 'node:timers/promises';
import { AwakeLimit } from '../support/awake.ts';
import { aSpan, encodeTraces, hexId, type TestSpan } from '../support/otlp.ts';

const PUSH_PAUSE_MS = 150;
const READ_PAUSE_MS = 150;
const WRITERS = 2;
const READERS = 2;
const TRACES_A_PUSH = 2;
const SPANS_MAX = 4;
const GROUP_TRACES = 20;
/** Far from ids that tests give themselves. */
const FIRST_ID = 1n << 64n;
const ATTEMPT_LIMIT_MS = 15_000;
const RETRY_MS = { min: 50, max: 1000 };
const CHECKERS = 6;
/** How long the last check asks again where an answer is an error or partial. */
const CHECK_LIMIT_MS = 60_000;

/** Each time the addresses to ask: the next one is asked where nobody listens, or the answer is 503. */
export interface Endpoints {
  /** OTLP over HTTP. */
  readonly push: () => readonly string[];
  readonly query: () => readonly string[];
}

/** Each time another one is the first. */
export function inTurn(addresses: readonly string[]): () => readonly string[] {
  let at = 0;
  return () => {
    const first = at++ % addresses.length;
    return [...addresses.slice(first), ...addresses.slice(0, first)];
  };
}

interface SentTrace {
  readonly id: string;
  readonly group: string;
  /** Spans 1 to this one were in some request. */
  sent: number;
  /** Spans 1 to this one were acknowledged. */
  acknowledged: number;
}

export interface LoadOptions {
  /** What each span carries beside, so that disks fill. */
  readonly fillerBytes?: number;
}

export interface Counts {
  spansSent: number;
  spansAcknowledged: number;
  tracesAcknowledged: number;
  /** Attempts of pushes that were refused or got no answer. */
  pushErrors: number;
  reads: number;
  /** Reads without an answer, or with a status of 5xx or 429. */
  readErrors: number;
  /** Answers that say that something may be missing. */
  partial: number;
  /** Answers that lack something acknowledged, or have something twice, and do not say so. */
  wrong: number;
  /** Acknowledged spans that the check at the end finds by id. */
  spansFound: number;
  /** Answers of that check that lack something, or have it twice. */
  lost: number;
  duplicated: number;
  /** How long spans were sent and asked for. */
  loadMs: number;
  longestPushGapMs: number;
  longestReadGapMs: number;
}

function noCounts(): Counts {
  return {
    spansSent: 0,
    spansAcknowledged: 0,
    tracesAcknowledged: 0,
    pushErrors: 0,
    reads: 0,
    readErrors: 0,
    partial: 0,
    wrong: 0,
    spansFound: 0,
    lost: 0,
    duplicated: 0,
    loadMs: 0,
    longestPushGapMs: 0,
    longestReadGapMs: 0,
  };
}

/** `found` = acknowledged spans in the answer, where a trace was asked for by id. */
type Verdict =
  | { readonly kind: 'right'; readonly found?: number }
  | { readonly kind: 'partial' | 'error'; readonly why: string; readonly found?: number }
  | { readonly kind: 'missing' | 'twice'; readonly why: string; readonly found?: number };

const RIGHT: Verdict = { kind: 'right' };

/** What a question is about, and what was acknowledged when it was asked. */
type Wanted = readonly { readonly trace: SentTrace; readonly acknowledged: number }[];

const wantedOf = (traces: readonly SentTrace[]): Wanted =>
  traces.map((trace) => ({ trace, acknowledged: trace.acknowledged }));

export class Load {
  /** The first of what went wrong in the last lap, in words. */
  complaints: readonly string[] = [];
  private complaining: string[] = [];
  private readonly endpoints: Endpoints;
  private readonly filler: string;
  private readonly traces: SentTrace[] = [];
  private readonly groups = new Map<string, SentTrace[]>();
  private counts = noCounts();
  private lapFrom = 0;
  private isOver = false;
  private isAbandoned = false;
  private work: Promise<void>[] = [];
  private lastPushMs = 0;
  private lastReadMs = 0;
  private lapStartMs = 0;
  private isHeld = false;
  /** Pushes and reads under way. */
  private busy = 0;

  constructor(endpoints: Endpoints, { fillerBytes = 0 }: LoadOptions = {}) {
    this.endpoints = endpoints;
    this.filler = 'x'.repeat(fillerBytes);
  }

  start(): void {
    this.isOver = false;
    this.lapStartMs = this.lastPushMs = this.lastReadMs = performance.now();
    const writers = Array.from({ length: WRITERS }, () => this.write());
    const readers = Array.from({ length: READERS }, (_, i) => this.read(i));
    this.work = [...writers, ...readers];
  }

  /** Nothing is waited for any more. */
  abandon(): void {
    this.isOver = this.isAbandoned = true;
  }

  /** Sends nothing more; what is under way is sent until it is acknowledged, for some time. */
  async stop(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.work);
  }

  /** Resolves when so many more pushes were acknowledged and reads were right. */
  async goesOn(count: number, limitMs = 60_000): Promise<void> {
    const limit = new AwakeLimit(limitMs);
    const pushes = this.acknowledgedPushes + count;
    const reads = this.rightReads + count;
    while (this.acknowledgedPushes < pushes || this.rightReads < reads) {
      if (limit.isOver) {
        const state = `${this.acknowledgedPushes} of ${pushes} pushes, ${this.rightReads} of ${reads} reads`;
        throw new Error(
          `the load does not go on after ${limitMs} ms: ${state}: ${this.complaining.join('; ')}`,
        );
      }
      await pause(20);
    }
  }

  private acknowledgedPushes = 0;
  private rightReads = 0;

  /**
   * Asks for all that was acknowledged since the last lap, by id and by search, and begins the next one.
   * Nothing else is sent or asked meanwhile, so that a lap has whole traces and all that was counted of them.
   */
  async lap(): Promise<Counts> {
    this.noteGap('longestPushGapMs', this.lastPushMs);
    this.noteGap('longestReadGapMs', this.lastReadMs);
    await this.hold();
    const traces = this.traces.slice(this.lapFrom);
    this.lapFrom = this.traces.length;
    const { counts } = this;
    counts.loadMs = Math.round(performance.now() - this.lapStartMs);
    counts.tracesAcknowledged = traces.filter(({ acknowledged }) => acknowledged > 0).length;
    await this.check(traces, counts);
    this.complaints = this.complaining;
    this.complaining = [];
    this.counts = noCounts();
    this.lapStartMs = this.lastPushMs = this.lastReadMs = performance.now();
    this.isHeld = false;
    return counts;
  }

  /** Begins no more pushes and reads, and waits for those under way. */
  private async hold(): Promise<void> {
    this.isHeld = true;
    const limit = new AwakeLimit(CHECK_LIMIT_MS);
    while (this.busy > 0 && !limit.isOver) await pause(20);
  }

  private async asOneOfTheLap(work: () => Promise<void>): Promise<void> {
    this.busy++;
    await work();
    this.busy--;
  }

  /** A read of something new, which may take as long as it takes. */
  async askNow(): Promise<void> {
    const group = this.traces.at(-1)?.group;
    if (group !== undefined) this.note(await this.bySearch(group));
  }

  /** All that was ever acknowledged. */
  async checkAll(): Promise<Counts> {
    const counts = noCounts();
    counts.tracesAcknowledged = this.traces.filter(({ acknowledged }) => acknowledged > 0).length;
    counts.spansAcknowledged = this.traces.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
    await this.check(this.traces, counts);
    return counts;
  }

  private async check(traces: readonly SentTrace[], counts: Counts): Promise<void> {
    const groups = [...new Set(traces.map(({ group }) => group))];
    const questions = [
      ...traces.map((trace) => () => this.byId(trace)),
      ...groups.map((group) => () => this.bySearch(group)),
      ...groups.map((group) => () => this.byMetrics(group)),
    ];
    const checker = async (): Promise<void> => {
      for (let ask = questions.pop(); ask !== undefined; ask = questions.pop()) {
        const verdict = await this.untilAnswered(ask);
        counts.spansFound += verdict.found ?? 0;
        if (verdict.kind === 'right') continue;
        if (verdict.kind === 'twice') counts.duplicated++;
        else counts.lost++;
        this.complain(`check: ${verdict.kind}: ${verdict.why}`);
      }
    };
    await Promise.all(Array.from({ length: CHECKERS }, checker));
  }

  private async untilAnswered(ask: () => Promise<Verdict>): Promise<Verdict> {
    const limit = new AwakeLimit(CHECK_LIMIT_MS);
    for (;;) {
      const verdict = await ask();
      const isOpen = verdict.kind === 'error' || verdict.kind === 'partial';
      if (!isOpen || limit.isOver) return verdict;
      await pause(RETRY_MS.max);
    }
  }

  private complain(text: string): void {
    if (this.complaining.length < 40) this.complaining.push(`${new Date().toISOString()} ${text}`);
  }

  private noteGap(gap: 'longestPushGapMs' | 'longestReadGapMs', sinceMs: number): void {
    this.counts[gap] = Math.max(this.counts[gap], Math.round(performance.now() - sinceMs));
  }

  private async write(): Promise<void> {
    let before: readonly SentTrace[] = [];
    let lap = this.lapFrom;
    while (!this.isOver) {
      await pause(PUSH_PAUSE_MS);
      if (this.isHeld) continue;
      // A whole check may fit into a pause: traces of the lap before get no spans of this one.
      if (lap !== this.lapFrom) before = [];
      lap = this.lapFrom;
      const fresh = Array.from({ length: TRACES_A_PUSH }, () => this.newTrace());
      // Half of the earlier ones go on, so that a trace lies in several heads and blocks.
      const more = before.filter(() => Math.random() < 0.5);
      await this.asOneOfTheLap(() => this.push([...fresh, ...more]));
      before = fresh;
    }
  }

  private newTrace(): SentTrace {
    const number = this.traces.length + 1;
    const group = `g${Math.floor(number / GROUP_TRACES)}`;
    const trace = { id: hexId(FIRST_ID + BigInt(number), 16), group, sent: 0, acknowledged: 0 };
    this.traces.push(trace);
    const members = this.groups.get(group);
    if (members === undefined) this.groups.set(group, [trace]);
    else members.push(trace);
    return trace;
  }

  private nextSpans(trace: SentTrace): TestSpan[] {
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    const count = 1 + Math.floor(Math.random() * SPANS_MAX);
    const spans = Array.from({ length: count }, (_, i) =>
      aSpan({
        traceId: trace.id,
        spanId: hexId(trace.sent + i + 1, 8),
        startUnixNano,
        endUnixNano: startUnixNano + 1000n,
        attributes: [
          ['load.group', trace.group],
          ['load.filler', this.filler],
        ],
      }),
    );
    trace.sent += count;
    this.counts.spansSent += count;
    return spans;
  }

  private async push(traces: readonly SentTrace[]): Promise<void> {
    const body = encodeTraces(traces.flatMap((trace) => this.nextSpans(trace)));
    let retryMs = RETRY_MS.min;
    const limit = new AwakeLimit(CHECK_LIMIT_MS);
    for (;;) {
      const why = await this.pushOnce(body);
      if (why === undefined) break;
      this.counts.pushErrors++;
      if (retryMs === RETRY_MS.min) this.complain(`push: ${why}`);
      if (this.isAbandoned || (this.isOver && limit.isOver)) return;
      await pause(retryMs * (0.5 + Math.random()));
      retryMs = Math.min(RETRY_MS.max, retryMs * 2);
    }
    this.noteGap('longestPushGapMs', this.lastPushMs);
    this.lastPushMs = performance.now();
    this.acknowledgedPushes++;
    for (const trace of traces) {
      this.counts.spansAcknowledged += trace.sent - trace.acknowledged;
      trace.acknowledged = trace.sent;
    }
  }

  /** @returns why it was not acknowledged. */
  private async pushOnce(body: Uint8Array): Promise<string | undefined> {
    try {
      const answer = await fetchAny(this.endpoints.push(), '/v1/traces', {
        method: 'POST',
        headers: { 'content-type': 'application/x-protobuf' },
        body: Buffer.from(body),
      });
      const text = await answer.text();
      return answer.ok ? undefined : `status ${answer.status}: ${text}`;
    } catch (err) {
      return saidBy(err);
    }
  }

  private async read(reader: number): Promise<void> {
    for (let i = reader; !this.isOver; i++) {
      await pause(READ_PAUSE_MS);
      const known = this.traces.length;
      if (known === 0 || this.isHeld) continue;
      // Every other one is new: what a fault hits is mostly that.
      const back = i % 2 === 0 ? Math.min(known, 40) : known;
      const trace = this.traces[known - 1 - Math.floor(Math.random() * back)]!;
      const kinds = [
        () => this.byId(trace),
        () => this.bySearch(trace.group),
        () => this.byMetrics(trace.group),
      ];
      await this.asOneOfTheLap(async () => this.note(await kinds[i % kinds.length]!()));
    }
  }

  private note(verdict: Verdict): void {
    const { counts } = this;
    counts.reads++;
    if (verdict.kind === 'error') counts.readErrors++;
    else {
      this.noteGap('longestReadGapMs', this.lastReadMs);
      this.lastReadMs = performance.now();
      if (verdict.kind === 'partial') counts.partial++;
      else if (verdict.kind === 'right') this.rightReads++;
      else counts.wrong++;
    }
    if (verdict.kind !== 'right') this.complain(`${verdict.kind}: ${verdict.why}`);
  }

  /** @param judge of the parsed body; of undefined where nothing was found. */
  private async ask(path: string, judge: (body: unknown) => Verdict): Promise<Verdict> {
    try {
      const answer = await fetchAny(this.endpoints.query(), path);
      const text = await answer.text();
      if (!answer.ok && answer.status !== 404) {
        return { kind: 'error', why: `${path}: status ${answer.status}: ${text.slice(0, 200)}` };
      }
      const verdict = judge(answer.ok ? JSON.parse(text) : undefined);
      const partial = answer.headers.get('x-tempo-partial');
      return partial !== null && verdict.kind === 'missing'
        ? { ...verdict, kind: 'partial', why: partial }
        : verdict;
    } catch (err) {
      return { kind: 'error', why: `${path}: ${saidBy(err)}` };
    }
  }

  private byId(trace: SentTrace): Promise<Verdict> {
    const { acknowledged } = trace;
    return this.ask(`/api/traces/${trace.id}`, (body) => {
      const { batches = [] } = (body ?? {}) as {
        batches?: { scopeSpans: { spans: { spanId: string }[] }[] }[];
      };
      const spans = batches.flatMap(({ scopeSpans }) => scopeSpans).flatMap((scope) => scope.spans);
      const numbers = spans.map(({ spanId }) => Number(Buffer.from(spanId, 'base64').readBigUInt64BE()));
      const all = new Set(numbers);
      const found = [...all].filter((span) => span <= acknowledged).length;
      if (all.size < numbers.length)
        return { kind: 'twice', found, why: `trace ${trace.id}: spans ${numbers.join()}` };
      return found < acknowledged
        ? { kind: 'missing', found, why: `trace ${trace.id}: ${numbers.join()} of ${acknowledged}` }
        : { kind: 'right', found };
    });
  }

  private bySearch(group: string): Promise<Verdict> {
    const wanted = wantedOf(this.groups.get(group) ?? []);
    const query = new URLSearchParams({ q: `{ span.load.group = "${group}" }`, limit: '1000', ...lately() });
    return this.ask(`/api/search?${query.toString()}`, (body) => {
      const { traces = [] } = body as { traces?: { traceID: string; spanSets: { matched: number }[] }[] };
      const matched = new Map<string, number>();
      for (const { traceID, spanSets } of traces) {
        const id = traceID.padStart(32, '0');
        if (matched.has(id)) return { kind: 'twice', why: `${group}: trace ${id} is listed twice` };
        matched.set(id, spanSets[0]?.matched ?? 0);
      }
      for (const { trace, acknowledged } of wanted) {
        const spans = matched.get(trace.id) ?? 0;
        if (spans < acknowledged)
          return {
            kind: 'missing',
            why: `${group}: trace ${trace.id}: ${spans} of ${acknowledged} by search`,
          };
        if (spans > trace.sent)
          return { kind: 'twice', why: `${group}: trace ${trace.id}: ${spans} of ${trace.sent}` };
      }
      return RIGHT;
    });
  }

  private byMetrics(group: string): Promise<Verdict> {
    const members = this.groups.get(group) ?? [];
    const acknowledged = members.reduce((sum, trace) => sum + trace.acknowledged, 0);
    const query = new URLSearchParams({
      q: `{ span.load.group = "${group}" } | count_over_time()`,
      ...lately(),
    });
    return this.ask(`/api/metrics/query?${query.toString()}`, (body) => {
      const { series = [] } = body as { series?: { value?: number }[] };
      const counted = series[0]?.value ?? 0;
      const sent = members.reduce((sum, trace) => sum + trace.sent, 0);
      if (counted < acknowledged)
        return { kind: 'missing', why: `${group}: counted ${counted} of ${acknowledged}` };
      return counted > sent ? { kind: 'twice', why: `${group}: counted ${counted} of ${sent}` } : RIGHT;
    });
  }
}

function saidBy(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  return err.cause === undefined ? err.message : `${err.message}: ${saidBy(err.cause)}`;
}

let resets = 0;

/** Connections of requests to one of several that were reset: few, which came at the moment of a stop. */
export const connectionsReset = (): number => resets;

/** Of several the next one is asked when nobody listens, or no longer, or the answer is 503. */
async function fetchAny(
  addresses: readonly string[],
  path: string,
  init: Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const signal = AbortSignal.timeout(ATTEMPT_LIMIT_MS);
  const [first, ...others] = addresses;
  if (others.length === 0) return fetch(first! + path, { ...init, signal });
  // One that is kept may be ended at the moment of a request: clients ask again then, fetch does not.
  const headers = { ...init.headers, connection: 'close' };
  try {
    const answer = await fetch(first! + path, { ...init, headers, signal });
    if (answer.status !== 503) return answer;
    await answer.body?.cancel();
  } catch (err) {
    const { code = '' } = ((err as Error).cause ?? {}) as { readonly code?: string };
    if (code !== 'ECONNREFUSED' && code !== 'ECONNRESET') throw err;
    if (code === 'ECONNRESET') resets++;
  }
  return fetchAny(others, path, { ...init, headers });
}

/** The last two hours, and some time ahead. */
function lately(): { readonly start: string; readonly end: string } {
  const now = Math.floor(Date.now() / 1000);
  return { start: String(now - 7200), end: String(now + 120) };
}
