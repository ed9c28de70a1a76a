// Where work outlives the process: a part of it in each of 256 files on the local disk, written before a
// job is handed out, and all of it now and then as work.json in the backend. Both as Tempo lays them out.
import { TempoError } from '../../lib/errors.ts';
import { fnv1aOf32 } from '../../lib/hash.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { Logger } from '../../telemetry/log.ts';
import { type Job, jobFromJson, jobToJson } from './job.ts';
import type { Work } from './work.ts';

const BACKEND_NAME = 'work.json';
const SHARDS = 256;
const SHARD_FILE = /^shard_\d{3}\.json$/;

export interface WorkFilesOptions {
  readonly work: Work;
  readonly backend: ObjectStore;
  readonly local: ObjectStore;
  readonly logger: Logger;
}

export class WorkFiles {
  private readonly options: WorkFilesOptions;
  /** Writes of a file that have not begun: they will take what is known then. */
  private readonly queued = new Map<number, Promise<void>>();
  /** The last write of each file. */
  private readonly last = new Map<number, Promise<void>>();
  private isBackendOld = false;
  private flushing: Promise<unknown> = Promise.resolve();

  constructor(options: WorkFilesOptions) {
    this.options = options;
  }

  /** Both are read: a job counts in the state that is further. */
  async load(): Promise<void> {
    const { local, backend } = this.options;
    await local.prepare();
    const names = await local.listObjects('');
    for (const name of names) if (SHARD_FILE.test(name)) await this.take(local, name);
    await this.take(backend, BACKEND_NAME);
  }

  /** Resolves when the jobs are on the local disk as they are now, or gone from it. */
  async save(jobIds: Iterable<string>): Promise<void> {
    this.isBackendOld = true;
    const shards = new Set([...jobIds].map(shardOf));
    await Promise.all([...shards].map((shard) => this.saveShard(shard)));
  }

  /** Resolves when nothing is being written to the local disk. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.last.values());
  }

  /** Writes work.json, if anything changed. @returns its size, undefined = it was up to date. */
  flush(): Promise<number | undefined> {
    const flushed = this.flushing.then(() => this.flushNow());
    this.flushing = flushed.catch(() => undefined); // told to whoever asked for it
    return flushed;
  }

  private async flushNow(): Promise<number | undefined> {
    if (!this.isBackendOld) return undefined;
    this.isBackendOld = false;
    try {
      const bytes = workJson(this.options.work.all());
      await this.options.backend.write(BACKEND_NAME, bytes);
      return bytes.length;
    } catch (err) {
      this.isBackendOld = true;
      throw err;
    }
  }

  private saveShard(shard: number): Promise<void> {
    const queued = this.queued.get(shard);
    if (queued !== undefined) return queued;
    const write = (this.last.get(shard) ?? Promise.resolve())
      .catch(() => undefined) // told to whoever waited for it
      .then(() => {
        this.queued.delete(shard);
        const jobs = [...this.options.work.all()].filter(({ jobId }) => shardOf(jobId) === shard);
        return this.options.local.write(shardName(shard), encoded({ jobs: byId(jobs) }));
      });
    this.queued.set(shard, write);
    this.last.set(shard, write);
    return write;
  }

  /** Without what cannot be read: some work may be done twice then. */
  private async take(store: ObjectStore, name: string): Promise<void> {
    const { work, logger } = this.options;
    try {
      const text = new TextDecoder().decode(await store.read(name));
      for (const job of jobsIn(JSON.parse(text))) work.merge(job);
    } catch (err) {
      if (err instanceof TempoError && err.code === 'not_found') return;
      logger.error('jobs of an earlier process cannot be read', { file: name, err });
    }
  }
}

/** All work as one object, as the backend has it. */
function workJson(jobs: Iterable<Job>): Uint8Array {
  const shards: Job[][] = Array.from({ length: SHARDS }, () => []);
  for (const job of jobs) shards[shardOf(job.jobId)]!.push(job);
  return encoded({ shards: shards.map((each) => ({ jobs: byId(each) })) });
}

/** Of one file, or of all. */
function jobsIn(value: unknown): readonly Job[] {
  const { shards, jobs } = value as { shards?: unknown; jobs?: unknown };
  if (Array.isArray(shards)) return shards.flatMap((shard) => (shard === null ? [] : jobsIn(shard)));
  return Object.values(jobs ?? {}).flatMap((job) => jobFromJson(job) ?? []);
}

function byId(jobs: readonly Job[]): unknown {
  return Object.fromEntries(jobs.map((job) => [job.jobId, jobToJson(job)]));
}

function encoded(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function shardOf(jobId: string): number {
  return fnv1aOf32(new TextEncoder().encode(jobId)) % SHARDS;
}

function shardName(shard: number): string {
  return `shard_${String(shard).padStart(3, '0')}.json`;
}
