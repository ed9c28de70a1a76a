// The ingester's side of recent spans: lists what it has of a tenant and does the jobs of queriers over it.
// What they name is looked up among what was listed in the same session; nothing else can be read.
import { headCounts } from '../../block/head/reader.ts';
import type { RecentSources, RecentTraces, SourceRef } from '../../contracts/recent-traces.ts';
import { failureOf } from '../../contracts/remote-query.ts';
import { StoppingError, TempoError } from '../../lib/errors.ts';
import { TENANT_HEADER, type TenantHeader } from '../../model/tenant.ts';
import type { DuplexPeer, GrpcMethods } from '../../rpc/grpc-methods.ts';
import { PieceReader, PieceSender } from '../../rpc/structured-pieces.ts';
import { encodeStructured } from '../../rpc/structured.ts';
import { checkNamedJob, limitsOf } from '../../store/named-job-check.ts';
import {
  decodeToIngester,
  type FromIngester,
  type ListedSource,
  type NamedJob,
  type OpenSession,
  RECENT_PATH,
  type ToIngester,
} from '../../store/recent-sessions.ts';
import type { ScanJob, ScanSource, TraceTableJob } from '../../store/scan-job.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import { blockIdOf, BLOCK_BYTES_PER_SPAN } from './plan.ts';
import { Heart } from './signs-of-life.ts';

export interface RecentServerOptions {
  readonly recent: RecentTraces;
  readonly pool: Pick<ScanPool, 'run'>;
  /** Time that a job of this kind may take; 0 = as long as it takes. */
  readonly jobLimitMs: (kind: ScanJob['kind']) => number;
  /**
   * Tenants that a header names; undefined = tenants are not told apart. Throws for a header that names none.
   */
  readonly tenantsOf: (header: TenantHeader) => readonly string[] | undefined;
  /** Rejects when no query may begin; it may wait a while before. */
  readonly admit: (tenant: string, signal: AbortSignal | undefined) => Promise<void>;
}

/** Of messages that are not complete yet: rows of the traces of a source that are left out. */
const MESSAGE_BYTES_MAX = 64 << 20;
/** Of one querier at a time. */
const SESSIONS_MAX = 1024;
/** Sessions begin with one. */
const NO_SESSION = 0;

/** Sessions say whose spans they ask for, and a call has sessions of many tenants: for queriers only. */
export function addRecentMethods(methods: GrpcMethods, options: RecentServerOptions): void {
  methods.duplex(RECENT_PATH, (peer) => new Link(peer, options).run(), { isInternal: true });
}

type Say = (message: FromIngester) => Promise<void>;

/** The sessions of one querier. */
class Link {
  readonly #peer: DuplexPeer;
  readonly #options: RecentServerOptions;
  readonly #sessions = new Map<number, Session>();
  readonly #sender: PieceSender;
  readonly #heart: Heart;
  /** Resolves when the process stops and nobody asks for anything. */
  readonly #stopped = Promise.withResolvers<void>();

  constructor(peer: DuplexPeer, options: RecentServerOptions) {
    this.#peer = peer;
    this.#options = options;
    this.#sender = new PieceSender((piece) => peer.send(piece));
    this.#heart = new Heart(() => this.#say({ kind: 'alive', session: NO_SESSION }));
  }

  async run(): Promise<void> {
    const { stopping } = this.#peer;
    const stop = (): void => this.#stopIfIdle();
    stopping.addEventListener('abort', stop);
    stop();
    try {
      await Promise.race([this.#read(), this.#stopped.promise]);
    } finally {
      stopping.removeEventListener('abort', stop);
      for (const session of this.#sessions.values()) session.end();
    }
  }

  async #read(): Promise<void> {
    const reader = new PieceReader(MESSAGE_BYTES_MAX);
    for await (const piece of this.#peer.messages()) {
      const bytes = reader.take(piece);
      if (bytes !== undefined) this.#take(decodeToIngester(bytes));
    }
  }

  #take(said: ToIngester): void {
    if (said.kind === 'open') return this.#open(said.session, said);
    const session = this.#sessions.get(said.session);
    // What is said of a session that has failed may come later than the failure was told.
    if (session === undefined) return;
    if (said.kind === 'job') void session.do(said.id, said.job);
    else if (said.kind === 'cancel') session.cancel(said.id);
    else {
      this.#sessions.delete(said.session);
      session.end();
      this.#stopIfIdle();
    }
  }

  #open(number: number, asked: OpenSession): void {
    if (this.#sessions.has(number)) {
      throw new TempoError('invalid_argument', 'a session is opened once');
    }
    if (this.#sessions.size >= SESSIONS_MAX) {
      const message = `a querier has more than ${SESSIONS_MAX} sessions at a time`;
      throw new TempoError('resource_exhausted', message);
    }
    const say: Say = (message) => this.#say(message);
    const session = new Session(number, this.#options, say, asked.wantsSigns ? this.#heart : undefined);
    this.#sessions.set(number, session);
    void session.open(asked, this.#peer.metadata[TENANT_HEADER]);
  }

  #say(message: FromIngester): Promise<void> {
    return this.#sender.say(encodeStructured(message));
  }

  #stopIfIdle(): void {
    if (this.#peer.stopping.aborted && this.#sessions.size === 0) this.#stopped.resolve();
  }
}

/** What one query asks. */
class Session {
  readonly #number: number;
  readonly #options: RecentServerOptions;
  readonly #say: Say;
  /** undefined = the querier knows no signs of life. */
  readonly #heart: Heart | undefined;
  readonly #ended = new AbortController();
  readonly #running = new Map<number, AbortController>();
  readonly #sources = new Map<string, ScanSource>();
  #tenant = '';
  #held: RecentSources | undefined;

  constructor(number: number, options: RecentServerOptions, say: Say, heart: Heart | undefined) {
    this.#number = number;
    this.#options = options;
    this.#say = say;
    this.#heart = heart;
  }

  end(): void {
    this.#ended.abort();
    for (const controller of this.#running.values()) controller.abort();
    this.#held?.release();
    this.#held = undefined;
  }

  cancel(id: number): void {
    this.#running.get(id)?.abort();
  }

  /** @param header of the call, which queriers do not send. */
  async open(asked: OpenSession, header: TenantHeader): Promise<void> {
    try {
      if (header !== undefined) this.#checkTenant(asked.tenant, header);
      const listed = await this.#list(asked);
      if (listed !== undefined) await this.#say({ kind: 'sources', session: this.#number, ...listed });
    } catch (err) {
      await this.#fail(undefined, err);
    }
  }

  /** Where a proxy says on whose behalf a call is, it is on nobody else's. */
  #checkTenant(tenant: string, header: TenantHeader): void {
    if (this.#options.tenantsOf(header)?.includes(tenant) !== false) return;
    throw new TempoError(
      'invalid_argument',
      'a session is of a tenant that the header of its call does not name',
    );
  }

  async #list({
    tenant,
    range,
    known,
    needsTables,
  }: OpenSession): Promise<Omit<Extract<FromIngester, { kind: 'sources' }>, 'kind' | 'session'> | undefined> {
    const { signal } = this.#ended;
    await this.#options.admit(tenant, signal);
    this.#tenant = tenant;
    const held = await this.#options.recent.recentSources(tenant, range, signal);
    if (signal.aborted) {
      held.release();
      return undefined;
    }
    this.#held = held;
    const partial: string[] = [];
    const sources = await Promise.all(
      held.sources.map(async (ref): Promise<ListedSource> => {
        const counts = ref.kind === 'head' ? headCounts(ref.sab) : undefined;
        const source: ScanSource = counts === undefined ? ref : { ...ref, traceCount: counts.traces };
        const blockId = blockIdOf(ref);
        const version = counts === undefined ? BLOCK_VERSION : `${counts.spans}/${counts.traces}`;
        this.#sources.set(blockId, source);
        const listed = { blockId, version, spanCount: counts?.spans ?? spansOf(ref), table: undefined };
        const knownVersion = known.get(blockId);
        if (!needsTables || knownVersion === version) return listed;
        return { ...listed, ...(await this.#table(source, knownVersion, partial)) };
      }),
    );
    return { sources, complete: held.complete, partial, givesSigns: this.#heart !== undefined };
  }

  async #table(
    source: ScanSource,
    known: string | undefined,
    partial: string[],
  ): Promise<Pick<ListedSource, 'table' | 'changes'>> {
    const since = known === undefined ? undefined : Number.parseInt(known, 10);
    const job: TraceTableJob = { kind: 'traceTable', sources: [source], sinceSpan: since };
    const result = await this.#options.pool.run(job, this.#how(job.kind, this.#ended.signal));
    if (result.kind !== 'traceTable') throw new Error('a job for a table answered as something else');
    for (const { source: name, message } of result.failures) {
      partial.push(`block ${name} could not be read: ${message}`);
    }
    const { rows, table } = result;
    return rows === undefined ? { table } : { table: undefined, changes: { rows, table } };
  }

  async do(id: number, job: NamedJob): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    this.#heart?.begin();
    try {
      const result = await this.#options.pool.run(
        this.#resolved(job),
        this.#how(job.kind, controller.signal),
      );
      await this.#say({ kind: 'result', session: this.#number, id, result });
    } catch (err) {
      await this.#fail(id, err);
    } finally {
      this.#running.delete(id);
      this.#heart?.end();
    }
  }

  /** Whoever has left needs not be told. */
  async #fail(id: number | undefined, err: unknown): Promise<void> {
    if (this.#ended.signal.aborted) return;
    const failure = failureOf(err);
    const isLeaving = err instanceof StoppingError;
    await this.#say({ kind: 'failure', session: this.#number, id, failure, isLeaving }).catch(
      () => undefined,
    );
  }

  #how(kind: ScanJob['kind'], signal: AbortSignal): Parameters<ScanPool['run']>[1] {
    return { tenant: this.#tenant, signal, limitMs: this.#options.jobLimitMs(kind) };
  }

  /** The job with the sources that it names. */
  #resolved(job: NamedJob): ScanJob {
    checkNamedJob(job);
    const sources = job.sources.map((named) => {
      const source = this.#sources.get(named.blockId);
      if (source === undefined) throw new TempoError('not_found', `source ${named.blockId} was not listed`);
      return { ...source, ...limitsOf(named) };
    });
    return { ...job, sources } as unknown as ScanJob;
  }
}

/** Blocks never change. */
const BLOCK_VERSION = 'block';

function spansOf(ref: SourceRef): number {
  if (ref.kind === 'head') return headCounts(ref.sab).spans;
  return ref.kind === 'block' ? Math.ceil(ref.meta.sizeBytes / BLOCK_BYTES_PER_SPAN) : ref.spanCount;
}
