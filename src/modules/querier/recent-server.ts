// The ingester's side of recent spans: lists what it has of a tenant and does the jobs of queriers over it.
// What they name is looked up among what was listed; nothing else can be read.
import { headCounts, headVersion } from '../../block/head/reader.ts';
import type { RecentSources, RecentTraces, SourceRef } from '../../contracts/recent-traces.ts';
import { failureOf } from '../../contracts/remote-query.ts';
import { TempoError } from '../../lib/errors.ts';
import type { DuplexPeer, GrpcMethods } from '../../rpc/grpc-methods.ts';
import { PieceReader, structuredPieces } from '../../rpc/structured-pieces.ts';
import {
  type FromIngester,
  type ListedSource,
  type NamedJob,
  RECENT_PATH,
  type ToIngester,
} from '../../store/recent-sessions.ts';
import type { ScanJob, ScanSource, TraceTableJob } from '../../store/scan-job.ts';
import type { ScanPool } from '../../store/scan-pool.ts';
import { blockIdOf, BLOCK_BYTES_PER_SPAN } from './plan.ts';

export interface RecentServerOptions {
  readonly recent: RecentTraces;
  readonly pool: Pick<ScanPool, 'run'>;
  /** Time that a job of this kind may take; 0 = as long as it takes. */
  readonly jobLimitMs: (kind: ScanJob['kind']) => number;
  /** Rejects when no query may begin; it may wait a while before. */
  readonly admit: (tenant: string, signal: AbortSignal | undefined) => Promise<void>;
}

/** Of one message: rows of the traces of a source that are left out. */
const MESSAGE_BYTES_MAX = 64 << 20;
const JOB_KINDS: ReadonlySet<string> = new Set([
  'search',
  'trace',
  'tagNames',
  'tagValues',
  'metrics',
  'traceParts',
]);

export function addRecentMethods(methods: GrpcMethods, options: RecentServerOptions): void {
  methods.duplex(RECENT_PATH, (peer) => new Session(peer, options).run());
}

class Session {
  readonly #peer: DuplexPeer;
  readonly #options: RecentServerOptions;
  readonly #running = new Map<number, AbortController>();
  readonly #sources = new Map<string, ScanSource>();
  #tenant = '';
  #held: RecentSources | undefined;

  constructor(peer: DuplexPeer, options: RecentServerOptions) {
    this.#peer = peer;
    this.#options = options;
  }

  async run(): Promise<void> {
    const reader = new PieceReader(MESSAGE_BYTES_MAX);
    try {
      for await (const message of this.#peer.messages()) {
        const said = reader.take(message) as ToIngester | undefined;
        if (said?.kind === 'open') await this.#open(said);
        else if (said?.kind === 'job') void this.#do(said.id, said.job);
        else if (said?.kind === 'cancel') this.#running.get(said.id)?.abort();
      }
    } finally {
      for (const controller of this.#running.values()) controller.abort();
      this.#held?.release();
    }
  }

  async #open({ tenant, range, known, needsTables }: Extract<ToIngester, { kind: 'open' }>): Promise<void> {
    if (this.#held !== undefined) throw new TempoError('invalid_argument', 'a session is opened once');
    const { signal } = this.#peer;
    await this.#options.admit(tenant, signal);
    this.#tenant = tenant;
    const held = await this.#options.recent.recentSources(tenant, range, signal);
    this.#held = held;
    const partial: string[] = [];
    const sources = await Promise.all(
      held.sources.map(async (ref): Promise<ListedSource> => {
        const source = ref.kind === 'head' ? { ...ref, traceCount: headCounts(ref.sab).traces } : ref;
        const blockId = blockIdOf(ref);
        const version = versionOf(source);
        this.#sources.set(blockId, source);
        const listed = { blockId, version, spanCount: spansOf(ref) };
        if (!needsTables || known.get(blockId) === version) return { ...listed, table: undefined };
        return { ...listed, table: await this.#table(source, partial) };
      }),
    );
    await this.#say({ kind: 'sources', sources, complete: held.complete, partial });
  }

  async #table(source: ScanSource, partial: string[]): Promise<ListedSource['table']> {
    const job: TraceTableJob = { kind: 'traceTable', sources: [source] };
    const result = await this.#options.pool.run(job, this.#how(job.kind, this.#peer.signal));
    if (result.kind !== 'traceTable') throw new Error('a job for a table answered as something else');
    for (const { source: name, message } of result.failures) {
      partial.push(`block ${name} could not be read: ${message}`);
    }
    return result.table;
  }

  async #do(id: number, job: NamedJob): Promise<void> {
    const controller = new AbortController();
    this.#running.set(id, controller);
    try {
      const result = await this.#options.pool.run(
        this.#resolved(job),
        this.#how(job.kind, controller.signal),
      );
      await this.#say({ kind: 'result', id, result });
    } catch (err) {
      await this.#say({ kind: 'failure', id, failure: failureOf(err) }).catch(() => undefined);
    } finally {
      this.#running.delete(id);
    }
  }

  #how(kind: ScanJob['kind'], signal: AbortSignal): Parameters<ScanPool['run']>[1] {
    return { tenant: this.#tenant, signal, limitMs: this.#options.jobLimitMs(kind) };
  }

  /** The job with the sources that it names. */
  #resolved(job: NamedJob): ScanJob {
    if (!JOB_KINDS.has(job.kind) || ('whole' in job && job.whole !== undefined)) {
      throw new TempoError('invalid_argument', `a job ${job.kind} is not done for others`);
    }
    const sources = job.sources.map(({ blockId, ...limits }) => {
      const source = this.#sources.get(blockId);
      if (source === undefined) throw new TempoError('not_found', `source ${blockId} was not listed`);
      return { ...source, ...limits };
    });
    return { ...job, sources } as unknown as ScanJob;
  }

  async #say(message: FromIngester): Promise<void> {
    for (const piece of structuredPieces(message)) await this.#peer.send(piece);
  }
}

/** Blocks never change. */
function versionOf(source: ScanSource): string {
  return source.kind === 'head' ? `${headVersion(source.sab)}/${source.traceCount}` : 'block';
}

function spansOf(ref: SourceRef): number {
  if (ref.kind === 'head') return headCounts(ref.sab).spans;
  return ref.kind === 'block' ? Math.ceil(ref.meta.sizeBytes / BLOCK_BYTES_PER_SPAN) : ref.spanCount;
}
