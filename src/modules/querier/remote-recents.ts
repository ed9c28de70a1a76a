// Recent spans of the ingesters of a ring: each is asked for what it has, and does the jobs of a query over
// it. To the planner what they have are sources as any other, so that copies in several ingesters and blocks
// count once.
import type {
  RecentNeeds,
  RecentSources,
  RecentTraces,
  RemoteSource,
  TimeRange,
  TraceParts,
  TraceTable,
} from '../../contracts/recent-traces.ts';
import { TempoError } from '../../lib/errors.ts';
import { ByteLru } from '../../lib/lru.ts';
import type { Awaited } from '../../ring/ring.ts';
import type { GrpcClient } from '../../rpc/grpc-client.ts';
import type {
  FromIngester,
  ListedSource,
  NamedJob,
  NamedSource,
  OpenSession,
} from '../../store/recent-sessions.ts';
import type { ScanJob, ScanResult, ScanSource, WholeTraces } from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import { changedTable } from '../../store/table-changes.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Counter, Metrics } from '../../telemetry/metrics.ts';
import { IngesterLink, IngesterLostError, type Session } from './ingester-link.ts';

export interface AskedIngester {
  readonly id: string;
  readonly zone: string;
  /** `host:port` of its gRPC. */
  readonly addr: string;
}

export interface RemoteRecentsOptions {
  /** Whom to ask of a tenant: those that are well, how many others, and what counts who has answered. */
  readonly ingesters: (tenant: string) => {
    readonly asked: readonly AskedIngester[];
    readonly awayCount: number;
    readonly awaited: () => Awaited;
  };
  /** All that are well, whatever tenant they are asked of; connections to others are closed. */
  readonly known: () => readonly AskedIngester[];
  readonly open: (address: string) => Promise<GrpcClient>;
  /** To list what it has. */
  readonly timeoutMs: number;
  /** Of tables that are kept. */
  readonly tableBytesMax: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Ever growing. */
  readonly nowMs?: () => number;
}

const ROWS_PER_REQUEST = 2048;
/** How long the rest is waited for, at least, once enough have answered that nothing is missing. */
const GRACE_MS_MIN = 100;
const GRACE_FACTOR = 2;
/** Between two warnings of one ingester. */
const TELL_MS = 60_000;
const NO_TABLE: TraceTable = {
  traceCount: 0,
  ids: new Uint8Array(0),
  digests: new Int32Array(0),
  startMicros: new Float64Array(0),
  endMicros: new Float64Array(0),
  newestStart: Infinity,
};

let sessions = 0;

export class RemoteRecents implements RecentTraces {
  readonly #options: RemoteRecentsOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #open = new Map<number, Session>();
  readonly #tables: ByteLru;
  readonly #late: Counter;
  readonly #silent: Counter;
  #isClosed = false;
  /** By ingester: of whom nothing more is told for a while, and how often there was something. */
  readonly #told = new Map<string, { readonly untilMs: number; times: number }>();

  constructor(options: RemoteRecentsOptions) {
    this.#options = options;
    this.#tables = new ByteLru(options.tableBytesMax);
    options.metrics.gauge(
      'tempo_querier_trace_tables_bytes',
      'Memory of what is known about the traces that ingesters have.',
      [],
      (gauge) => gauge.set(this.#tables.sizeBytes),
    );
    options.metrics.gauge(
      'tempo_querier_ingester_sessions',
      'Ingesters that are asked for recent spans at the moment, once for each query.',
      [],
      (gauge) => gauge.set(this.#open.size),
    );
    this.#late = options.metrics.counter(
      'tempo_querier_late_ingesters_total',
      'Times that a query did not wait for an ingester, as enough others had answered.',
      [],
    );
    this.#silent = options.metrics.counter(
      'tempo_querier_silent_ingesters_total',
      'Times that an ingester with jobs of queries gave no sign of life: they were begun again.',
      [],
    );
  }

  /** One that stands still would be told of by every query. */
  #couldNotAsk(ingester: string, err: unknown): void {
    const nowMs = this.#options.nowMs?.() ?? performance.now();
    const told = this.#told.get(ingester);
    if (told !== undefined && nowMs < told.untilMs) {
      told.times++;
      return;
    }
    this.#options.logger.warn('an ingester could not be asked', { ingester, times: told?.times ?? 1, err });
    this.#told.set(ingester, { untilMs: nowMs + TELL_MS, times: 1 });
  }

  #foundSilent(ingester: string): void {
    this.#silent.inc({});
    this.#options.logger.warn('an ingester stands still: its queries are begun again', { ingester });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const session of this.#open.values()) session.close();
    this.#open.clear();
    for (const peer of this.#peers.values()) await closePeer(peer);
  }

  async recentSources(
    tenant: string,
    range: TimeRange,
    signal?: AbortSignal,
    { tables: needsTables }: RecentNeeds = { tables: true },
  ): Promise<RecentSources> {
    if (this.#isClosed) throw new TempoError('unavailable', 'the process is stopping');
    const { asked, awayCount, awaited } = this.#options.ingesters(tenant);
    const total = asked.length + awayCount;
    if (total === 0) throw new TempoError('unavailable', 'the ring has no ingester to ask for recent spans');
    this.#closeOthers(this.#options.known());
    const answers = awaited();
    const patience = new Patience(signal);
    const found = await Promise.all(
      asked.map(async (ingester) => {
        try {
          const part = await this.#ask(ingester, { tenant, range, needsTables }, patience.signal);
          answers.answered(ingester);
          if (answers.isWhole) patience.begin();
          return part;
        } catch (err) {
          if (signal?.aborted === true) return undefined;
          if (patience.isOver) this.#late.inc({});
          this.#couldNotAsk(ingester.id, err);
          return undefined;
        }
      }),
    );
    patience.end();
    const parts = found.filter((part) => part !== undefined);
    const release = (): void => parts.forEach((part) => part.release());
    if (signal?.aborted === true) {
      release();
      throw signal.reason;
    }
    const missing = total - parts.length;
    const partial = parts.flatMap(({ listed }) => listed.partial);
    if (!answers.isWhole || parts.length === 0) {
      partial.push(`${missing} of ${total} ingesters could not be asked for recent spans`);
    }
    return {
      sources: parts.flatMap(({ sources }) => sources),
      complete: parts.every(({ listed }) => listed.complete),
      partial,
      release,
    };
  }

  /** Has jobs over sources of ingesters done there; those that bring traces together get their parts. */
  poolOver(pool: Pick<ScanPool, 'run'>): Pick<ScanPool, 'run'> {
    return {
      run: async (job, options) => {
        const [first] = job.sources;
        if (job.kind !== 'sharedTraces' && first?.kind === 'remote') return this.#elsewhere(job, options);
        const whole = 'whole' in job ? job.whole : undefined;
        if (whole === undefined || !whole.sources.some(({ kind }) => kind === 'remote')) {
          return pool.run(job, options);
        }
        return pool.run({ ...job, whole: await this.#withParts(whole, options.signal) } as ScanJob, options);
      },
    };
  }

  #elsewhere(job: ScanJob, { signal }: RunOptions): Promise<ScanResult> {
    const [first] = job.sources as readonly RemoteSource[];
    return this.#sessionOf(first!).run({ ...job, sources: job.sources.map(named) } as NamedJob, signal);
  }

  #sessionOf({ session, blockId }: RemoteSource): Session {
    const open = this.#open.get(session);
    if (open === undefined) throw new IngesterLostError(blockId, undefined);
    return open;
  }

  async #withParts(whole: WholeTraces, signal: AbortSignal | undefined): Promise<WholeTraces> {
    const rows = rowsOf(whole);
    const sources = await Promise.all(
      whole.sources.map(async (source, i) =>
        source.kind === 'remote' ? { ...source, parts: await this.#parts(source, rows[i]!, signal) } : source,
      ),
    );
    return { ...whole, sources };
  }

  async #parts(source: RemoteSource, rows: Int32Array, signal: AbortSignal | undefined): Promise<TraceParts> {
    const pieces: Uint8Array[] = [];
    const ends = new Float64Array(rows.length);
    let length = 0;
    for (let at = 0; at < rows.length; at += ROWS_PER_REQUEST) {
      const some = rows.slice(at, at + ROWS_PER_REQUEST);
      const job = { kind: 'traceParts' as const, sources: [named(source)], rows: some };
      const result = await this.#sessionOf(source).run(job, signal);
      if (result.kind !== 'traceParts') throw new Error('a job for parts answered as something else');
      const { parts } = result;
      for (let i = 0; i < some.length; i++) ends[at + i] = length + parts.ends[i]!;
      pieces.push(parts.bytes);
      length += parts.bytes.length;
    }
    return { rows, ends, bytes: Buffer.concat(pieces, length) };
  }

  async #ask(
    ingester: AskedIngester,
    query: Omit<OpenSession, 'kind' | 'known' | 'wantsSigns'>,
    signal: AbortSignal | undefined,
  ): Promise<{
    readonly release: () => void;
    readonly listed: Extract<FromIngester, { kind: 'sources' }>;
    readonly sources: readonly RemoteSource[];
  }> {
    const number = ++sessions;
    const { session, isFresh } = await this.#sessionWith(ingester);
    this.#open.set(number, session);
    const release = (): void => {
      this.#open.delete(number);
      session.close();
    };
    const tables = query.needsTables ? this.#known(ingester.id, query.tenant) : new Map<string, KnownTable>();
    const known = new Map([...tables].map(([blockId, { version }]) => [blockId, version]));
    try {
      const listed = await session.open({ ...query, known }, this.#options.timeoutMs, signal);
      const sources = listed.sources.map((source) => sourceOf(number, source, tables));
      if (query.needsTables) this.#keep(ingester.id, query.tenant, sources);
      return { release, listed, sources };
    } catch (err) {
      release();
      // The call had ended, as when the ingester was started anew, and nobody had asked since.
      if (err instanceof IngesterLostError && !isFresh) return this.#ask(ingester, query, signal);
      throw err;
    }
  }

  /** One call to each ingester lasts, and is opened again when it is over. */
  async #sessionWith({
    id,
    addr,
  }: AskedIngester): Promise<{ readonly session: Session; readonly isFresh: boolean }> {
    const peer = this.#peerOf(addr);
    const client = await peer.client;
    const isFresh = peer.link === undefined || peer.link.isOver;
    const link = isFresh ? new IngesterLink(id, client, () => this.#foundSilent(id)) : peer.link!;
    peer.link = link;
    return { session: link.open(), isFresh };
  }

  #peerOf(addr: string): Peer {
    const known = this.#peers.get(addr);
    if (known !== undefined) return known;
    const opened: Peer = { client: this.#options.open(addr), link: undefined };
    this.#peers.set(addr, opened);
    // What failed, as a certificate that is not there yet, is tried again by the next query.
    opened.client.catch(() => {
      if (this.#peers.get(addr) === opened) this.#peers.delete(addr);
    });
    return opened;
  }

  /** Connections to addresses that nobody asks any more; what is under way goes on. */
  #closeOthers(known: readonly AskedIngester[]): void {
    const ids = new Set(known.map(({ id }) => id));
    for (const told of this.#told.keys()) if (!ids.has(told)) this.#told.delete(told);
    const addresses = new Set(known.map(({ addr }) => addr));
    for (const [addr, peer] of this.#peers) {
      if (addresses.has(addr)) continue;
      this.#peers.delete(addr);
      void closePeer(peer);
    }
  }

  /** Tables that the ingester need not send again, by source. */
  #known(ingesterId: string, tenant: string): ReadonlyMap<string, KnownTable> {
    return this.#tables.get<Map<string, KnownTable>>(`${ingesterId}/${tenant}`) ?? new Map();
  }

  #keep(ingesterId: string, tenant: string, sources: readonly RemoteSource[]): void {
    const tables = new Map(sources.map(({ blockId, version, table }) => [blockId, { version, table }]));
    const bytes = sources.reduce((sum, { table }) => sum + tableBytes(table), 0);
    this.#tables.set(`${ingesterId}/${tenant}`, tables, bytes);
  }
}

/** Where an ingester is asked. */
interface Peer {
  readonly client: Promise<GrpcClient>;
  link: IngesterLink | undefined;
}

async function closePeer({ client, link }: Peer): Promise<void> {
  link?.close();
  // One that was never opened told so to the query that asked for it.
  (await client.catch(() => undefined))?.close();
}

/** Ends what still waits some time after enough have answered: one that stands still delays no query. */
class Patience {
  readonly signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #fromMs = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.signal = signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]);
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** So many have answered that nothing is missing. */
  begin(): void {
    if (this.#timer !== undefined) return;
    const graceMs = Math.max(GRACE_MS_MIN, GRACE_FACTOR * (performance.now() - this.#fromMs));
    const late = new TempoError('deadline_exceeded', `no answer ${Math.round(graceMs)} ms after the others`);
    this.#timer = setTimeout(() => this.#over.abort(late), graceMs);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

interface KnownTable {
  readonly version: string;
  readonly table: TraceTable;
}

function sourceOf(
  session: number,
  { blockId, version, spanCount, table: sent, changes }: ListedSource,
  tables: ReadonlyMap<string, KnownTable>,
): RemoteSource {
  const known = tables.get(blockId)?.table ?? NO_TABLE;
  const table =
    sent !== undefined ? sharedTable(sent) : changes === undefined ? known : changedTable(known, changes);
  return { kind: 'remote', blockId, version, session, spanCount, table };
}

function named(source: ScanSource): NamedSource {
  const { rowGroups, without, apart, traceCount } = source;
  const blockId = source.kind === 'block' ? source.meta.blockId : source.blockId;
  const isBlock = source.kind === 'remote' && source.version === 'block';
  // Of a block all traces are there, row group by row group.
  const limits = isBlock ? { without, apart } : { without, apart, traceCount };
  const given = Object.entries({ rowGroups, ...limits }).filter(([, value]) => value !== undefined);
  return { blockId, ...Object.fromEntries(given) };
}

/** For each source the rows that places of the range speak of, ascending. */
function rowsOf({ sources, places, range: [from, to] }: WholeTraces): readonly Int32Array[] {
  const rows: number[][] = sources.map(() => []);
  const first = from === 0 ? 0 : places.ends[from - 1]!;
  const end = to === 0 ? 0 : places.ends[to - 1]!;
  for (let i = first; i < end; i++) rows[places.source[i]!]!.push(places.row[i]!);
  return rows.map((list) => Int32Array.from(list).sort());
}

/** Scan threads share it. */
function sharedTable({ ids, digests, startMicros, endMicros, ...rest }: TraceTable): TraceTable {
  return {
    ...rest,
    ids: shared(Uint8Array, ids),
    digests: shared(Int32Array, digests),
    startMicros: shared(Float64Array, startMicros),
    endMicros: shared(Float64Array, endMicros),
  };
}

function shared<Numbers extends Uint8Array | Int32Array | Float64Array>(
  type: new (buffer: SharedArrayBuffer) => Numbers,
  numbers: Numbers,
): Numbers {
  const copy = new type(new SharedArrayBuffer(numbers.byteLength));
  copy.set(numbers);
  return copy;
}

function tableBytes({ ids, digests, startMicros, endMicros }: TraceTable): number {
  return ids.byteLength + digests.byteLength + startMicros.byteLength + endMicros.byteLength;
}
