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
import { errorOf } from '../../contracts/remote-query.ts';
import { TempoError } from '../../lib/errors.ts';
import { ByteLru } from '../../lib/lru.ts';
import type { DuplexClientCall, GrpcClient } from '../../rpc/grpc-client.ts';
import { PieceReader, structuredPieces } from '../../rpc/structured-pieces.ts';
import {
  type FromIngester,
  type ListedSource,
  type NamedSource,
  RECENT_PATH,
  type ToIngester,
} from '../../store/recent-sessions.ts';
import type { ScanJob, ScanResult, ScanSource, WholeTraces } from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export interface AskedIngester {
  readonly id: string;
  /** `host:port` of its gRPC. */
  readonly addr: string;
}

export interface RemoteRecentsOptions {
  /** Those that are well, how many others the ring has, and how many of all may be missing. */
  readonly ingesters: () => {
    readonly asked: readonly AskedIngester[];
    readonly awayCount: number;
    readonly missingMax: number;
  };
  readonly open: (address: string) => Promise<GrpcClient>;
  /** To list what it has. */
  readonly timeoutMs: number;
  /** Of tables that are kept. */
  readonly tableBytesMax: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** An ingester left amid a query, which may be begun again without it. */
export class IngesterLostError extends TempoError {
  constructor(id: string, cause: unknown) {
    super('unavailable', `ingester ${id} left amid the query`, cause);
  }
}

/** Of one message: what a job answers. */
const MESSAGE_BYTES_MAX = 1 << 30;
const ROWS_PER_REQUEST = 2048;
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
  readonly #clients = new Map<string, Promise<GrpcClient>>();
  readonly #open = new Map<number, Session>();
  readonly #tables: ByteLru;

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
  }

  async close(): Promise<void> {
    for (const session of this.#open.values()) session.close();
    for (const client of this.#clients.values()) (await client).close();
  }

  async recentSources(
    tenant: string,
    range: TimeRange,
    signal?: AbortSignal,
    { tables: needsTables }: RecentNeeds = { tables: true },
  ): Promise<RecentSources> {
    const { asked, awayCount, missingMax } = this.#options.ingesters();
    this.#closeOthers(asked);
    const failed: string[] = [];
    const found = await Promise.all(
      asked.map(async (ingester) => {
        try {
          return await this.#ask(ingester, { tenant, range, needsTables }, signal);
        } catch (err) {
          if (signal?.aborted === true) return undefined;
          this.#options.logger.warn('an ingester could not be asked', { ingester: ingester.id, err });
          failed.push(ingester.id);
          return undefined;
        }
      }),
    );
    const parts = found.filter((part) => part !== undefined);
    const release = (): void => parts.forEach(({ session }) => session.close());
    if (signal?.aborted === true) {
      release();
      throw signal.reason;
    }
    const missing = failed.length + awayCount;
    const partial = parts.flatMap(({ listed }) => listed.partial);
    const total = asked.length + awayCount;
    if (total === 0) partial.push('the ring has no ingester to ask for recent spans');
    else if (missing > missingMax || parts.length === 0) {
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
    return this.#sessionOf(first!).run({ ...job, sources: job.sources.map(named) }, signal);
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
    query: Omit<Extract<ToIngester, { kind: 'open' }>, 'kind' | 'known'>,
    signal: AbortSignal | undefined,
  ): Promise<{
    readonly session: Session;
    readonly listed: Extract<FromIngester, { kind: 'sources' }>;
    readonly sources: readonly RemoteSource[];
  }> {
    const client = await this.#clientOf(ingester.addr);
    const number = ++sessions;
    const session = new Session(ingester.id, client.duplex(RECENT_PATH, {}), () => this.#open.delete(number));
    this.#open.set(number, session);
    const tables = query.needsTables ? this.#known(ingester.id) : new Map<string, KnownTable>();
    const known = new Map([...tables].map(([blockId, { version }]) => [blockId, version]));
    try {
      const listed = await session.open({ kind: 'open', ...query, known }, this.#options.timeoutMs, signal);
      const sources = listed.sources.map((source) => sourceOf(number, source, tables));
      if (query.needsTables) this.#keep(ingester.id, sources);
      return { session, listed, sources };
    } catch (err) {
      session.close();
      throw err;
    }
  }

  #clientOf(addr: string): Promise<GrpcClient> {
    const known = this.#clients.get(addr);
    if (known !== undefined) return known;
    const opened = this.#options.open(addr);
    this.#clients.set(addr, opened);
    // What failed, as a certificate that is not there yet, is tried again by the next query.
    opened.catch(() => {
      if (this.#clients.get(addr) === opened) this.#clients.delete(addr);
    });
    return opened;
  }

  /** Connections to addresses that nobody asks any more; calls that are under way go on. */
  #closeOthers(asked: readonly AskedIngester[]): void {
    for (const [addr, client] of this.#clients) {
      if (asked.some((each) => each.addr === addr)) continue;
      this.#clients.delete(addr);
      void client.then(
        (opened) => opened.close(),
        // It was never opened, which the query that asked for it was told.
        () => undefined,
      );
    }
  }

  /** Tables that the ingester need not send again, by source. */
  #known(ingesterId: string): ReadonlyMap<string, KnownTable> {
    return this.#tables.get<Map<string, KnownTable>>(ingesterId) ?? new Map();
  }

  #keep(ingesterId: string, sources: readonly RemoteSource[]): void {
    const tables = new Map(sources.map(({ blockId, version, table }) => [blockId, { version, table }]));
    const bytes = sources.reduce((sum, { table }) => sum + tableBytes(table), 0);
    this.#tables.set(ingesterId, tables, bytes);
  }
}

interface KnownTable {
  readonly version: string;
  readonly table: TraceTable;
}

function sourceOf(
  session: number,
  { blockId, version, spanCount, table: sent }: ListedSource,
  known: ReadonlyMap<string, KnownTable>,
): RemoteSource {
  const table = sent === undefined ? known.get(blockId)?.table : sharedTable(sent);
  return { kind: 'remote', blockId, version, session, spanCount, table: table ?? NO_TABLE };
}

/** What one ingester says to one query. */
class Session {
  readonly #ingesterId: string;
  readonly #call: DuplexClientCall;
  readonly #ended: () => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<ScanResult>>();
  readonly #listed = Promise.withResolvers<Extract<FromIngester, { kind: 'sources' }>>();
  #nextId = 0;
  #lost: IngesterLostError | undefined;

  constructor(ingesterId: string, call: DuplexClientCall, ended: () => void) {
    this.#ingesterId = ingesterId;
    this.#call = call;
    this.#ended = ended;
    this.#listed.promise.catch(() => undefined);
    void this.#read();
  }

  async open(
    message: ToIngester,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Extract<FromIngester, { kind: 'sources' }>> {
    const leave = (): void => this.#listed.reject(signal?.reason);
    const late = setTimeout(() => {
      this.#listed.reject(new TempoError('deadline_exceeded', `no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    signal?.addEventListener('abort', leave);
    try {
      await this.#say(message);
      return await this.#listed.promise;
    } finally {
      clearTimeout(late);
      signal?.removeEventListener('abort', leave);
    }
  }

  async run(
    job: Extract<ToIngester, { kind: 'job' }>['job'],
    signal: AbortSignal | undefined,
  ): Promise<ScanResult> {
    if (this.#lost !== undefined) throw this.#lost;
    signal?.throwIfAborted();
    const id = ++this.#nextId;
    const answer = Promise.withResolvers<ScanResult>();
    this.#waiting.set(id, answer);
    const cancel = (): void => {
      answer.reject(signal?.reason ?? new TempoError('cancelled', 'the job is not needed'));
      void this.#say({ kind: 'cancel', id });
    };
    signal?.addEventListener('abort', cancel);
    try {
      await this.#say({ kind: 'job', id, job });
      return await answer.promise;
    } finally {
      this.#waiting.delete(id);
      signal?.removeEventListener('abort', cancel);
    }
  }

  close(): void {
    this.#ended();
    this.#call.end();
  }

  async #say(message: ToIngester): Promise<void> {
    for (const piece of structuredPieces(message)) await this.#call.send(piece);
  }

  async #read(): Promise<void> {
    const reader = new PieceReader(MESSAGE_BYTES_MAX);
    let cause: unknown;
    try {
      for await (const message of this.#call.messages) {
        const said = reader.take(message) as FromIngester | undefined;
        if (said?.kind === 'sources') this.#listed.resolve(said);
        else if (said?.kind === 'result') this.#waiting.get(said.id)?.resolve(said.result);
        else if (said?.id !== undefined) this.#waiting.get(said.id)?.reject(errorOf(said.failure));
      }
    } catch (err) {
      cause = err;
      this.#call.cancel();
    }
    this.#lost = new IngesterLostError(this.#ingesterId, cause);
    this.#listed.reject(this.#lost);
    for (const answer of this.#waiting.values()) answer.reject(this.#lost);
    this.#ended();
  }
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
