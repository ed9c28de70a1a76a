// A server as far as blocks are concerned, over a bucket that others use too: its log, local blocks, uploads,
// polling, compaction, retention and queries, in one thread and by a clock of the test, so that a seed tells
// everything. What is on its disk outlives it.
import { metaFromJson } from '../../src/block/meta-json.ts';
import { type BlockMeta, META_NAME } from '../../src/block/meta.ts';
import type { RecentSources, SourceRef } from '../../src/contracts/recent-traces.ts';
import { Compactor } from '../../src/modules/compactor/index.ts';
import { type LocalBlock, LocalBlocks } from '../../src/modules/ingester/local-blocks.ts';
import { LocalQuerier } from '../../src/modules/querier/index.ts';
import { BucketStore, type BucketStoreOptions } from '../../src/objectstore/bucket-store.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import { BlockJoiner } from '../../src/store/block-joiner.ts';
import { compactChecked } from '../../src/store/compact-checked.ts';
import type { CompactionJob } from '../../src/store/compaction-messages.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import type { CompactionLimits } from '../../src/store/compaction-select.ts';
import { Poller } from '../../src/store/poller.ts';
import { applyRetention } from '../../src/store/retention.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { deleteUnfinished } from '../../src/store/unfinished.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { writeBlock } from './block-rows.ts';
import { FaultyBucket, type FaultyBucketOptions, Life, mortal } from './faulty-bucket.ts';
import { encodeTraces, type TestSpan } from './otlp.ts';

export interface Head {
  readonly tenant: string;
  readonly blockId: string;
  readonly spans: TestSpan[];
  readonly builder: HeadBuilder;
}

/** What outlives a process. */
export class Disk {
  /** What the log holds: heads that are filled, by tenant, and those that are cut. */
  readonly heads = new Map<string, Head>();
  readonly cut = new Set<Head>();
  readonly blocks: MemoryStore;

  constructor(nowMs: () => number) {
    this.blocks = new MemoryStore(nowMs);
  }
}

export interface ProcessOptions extends Pick<FaultyBucketOptions, 'inner' | 'chance' | 'faults' | 'before'> {
  readonly disk: Disk;
  readonly nowMs: () => number;
  readonly newBlockId: () => string;
  readonly blockRetentionMs: number;
  readonly compactedRetentionMs: number;
}

const SCRATCH = '/scratch/';
const BLOCKS = '/blocks/';
const FILTERS = { bloom: { falsePositive: 0.01, shardSizeBytes: 1000 }, valueFilterBytesMax: 65_536 };
const HEAD_BYTES = 1 << 24;
const WINDOW_MS = 3_600_000;
const LOCAL_MS = 300_000;

const LIMITS: CompactionLimits = {
  windowMs: WINDOW_MS,
  objectsMax: 1e6,
  blockBytesMax: 1e9,
  formats: new Set(['vParquet4']),
};

/** Files are in memory, so that nothing depends on how fast a disk is. */
class DisklessStore extends BucketStore {
  private readonly readFile: (path: string) => Promise<Uint8Array>;

  constructor(options: BucketStoreOptions, readFile: (path: string) => Promise<Uint8Array>) {
    super(options);
    this.readFile = readFile;
  }

  override async writeFile(key: string, path: string): Promise<void> {
    await this.write(key, await this.readFile(path));
  }
}

export class StoreProcess {
  readonly life = new Life();
  readonly blocklist = new Blocklist();
  readonly querier: LocalQuerier;
  readonly backend: BucketStore;
  private readonly options: ProcessOptions;
  private readonly localBlocks: LocalBlocks;
  private readonly poller: Poller;
  private readonly compactor: Compactor;
  private readonly local: ObjectStore;
  private waiting: LocalBlock[] = [];

  constructor(options: ProcessOptions) {
    this.options = options;
    const { disk, nowMs, newBlockId, inner } = options;
    const { life, blocklist } = this;
    const files = new MemoryStore(nowMs);
    const scratch = mortal(files, life);
    this.local = mortal(disk.blocks, life);
    this.backend = new DisklessStore(
      {
        bucket: new FaultyBucket({ ...options, inner, life }),
        prefix: '',
        // by themselves requests are tried again only after a time, which no seed tells
        retry: { attemptsMax: 1, firstDelayMs: 0, delayMsMax: 0 },
        hedge: { afterMs: 0, requestsMax: 1 },
        listConcurrency: 2,
        isWriter: true,
        pageLength: 9,
        onRetry: () => {},
        onHedge: () => {},
      },
      (path) =>
        path.startsWith(SCRATCH)
          ? scratch.read(path.slice(SCRATCH.length))
          : this.local.read(path.slice(BLOCKS.length)),
    );
    const common = { logger: silentLogger, metrics: new Metrics(), nowMs, blocklist };
    this.localBlocks = new LocalBlocks({
      ...common,
      store: this.local,
      path: BLOCKS.slice(0, -1),
      backend: this.backend,
      completeBlockTimeoutMs: LOCAL_MS,
    });
    this.poller = new Poller({ ...common, store: this.backend, concurrency: 3, tenantConcurrency: 2 });
    const joiner = new BlockJoiner({
      ...common,
      backend: this.backend,
      scratch,
      scratchPath: SCRATCH.slice(0, -1),
      thread: {
        run: (job) => this.runCompaction(job, scratch, files),
        rest: () => undefined,
        finish: () => Promise.resolve(),
        abandon: () => Promise.resolve(),
        stop: () => Promise.resolve(),
      },
      traceBytesMaxOf: () => 0,
      onCompacted: (meta, inputs) => blocklist.replaced(meta, inputs, nowMs()),
      discarded: () => {},
      newBlockId,
    });
    this.compactor = new Compactor({
      ...common,
      joiner,
      outstanding: new Map(),
      cycleMs: 30_000,
      tenantTimeMsMax: 60_000,
      limitsOf: () => LIMITS,
      refusal: () => undefined,
    });
    this.querier = this.createQuerier(common);
  }

  /** As at a start: what the disk holds is taken over. */
  async start(): Promise<readonly string[] | undefined> {
    const { cut } = this.options.disk;
    this.waiting = await this.localBlocks.takeOver();
    for (const head of cut)
      if (this.localBlocks.find(head.tenant, head.blockId) !== undefined) cut.delete(head);
    return this.poll();
  }

  push(tenant: string, spans: readonly TestSpan[]): void {
    const { heads } = this.options.disk;
    let head = heads.get(tenant);
    if (head === undefined) {
      const builder = new HeadBuilder({ maxBytes: HEAD_BYTES });
      head = { tenant, blockId: this.options.newBlockId(), spans: [], builder };
      heads.set(tenant, head);
    }
    const bytes = encodeTraces(spans);
    head.builder.append(bytes, 0, bytes.length);
    head.spans.push(...spans);
  }

  /** Heads become blocks, and these are uploaded, as far as it goes. */
  async flush(tenant: string | undefined): Promise<void> {
    const { heads, cut } = this.options.disk;
    for (const head of heads.values()) {
      if (tenant !== undefined && head.tenant !== tenant) continue;
      heads.delete(head.tenant);
      cut.add(head);
    }
    for (const head of cut) {
      const meta = await this.writeLocal(head);
      cut.delete(head);
      this.waiting.push(this.localBlocks.add(meta));
    }
    await this.upload();
  }

  async upload(): Promise<void> {
    for (const block of this.waiting) {
      const state = await this.localBlocks.upload(block);
      if (state === 'live') this.blocklist.added(block.meta);
      block.safeSinceMs = this.options.nowMs();
      this.waiting = this.waiting.filter((other) => other !== block);
    }
  }

  /** @returns tenants whose blocks could not be listed; undefined = nothing could. */
  async poll(): Promise<readonly string[] | undefined> {
    try {
      return await this.poller.poll();
    } catch {
      return undefined;
    }
  }

  async writeIndexes(): Promise<void> {
    await this.poller.writeIndexes(() => !this.life.isOver);
  }

  async retain(): Promise<void> {
    const { nowMs, blockRetentionMs, compactedRetentionMs: compactedMs } = this.options;
    const times = { isOff: () => false, blockMsOf: () => blockRetentionMs, compactedMs };
    const { backend: store, blocklist } = this;
    await applyRetention({ store, blocklist, logger: silentLogger, times, owns: () => true, nowMs });
    await deleteUnfinished({ store, blocklist, logger: silentLogger, owns: () => true, nowMs });
    await this.localBlocks.deleteExpired();
  }

  async compact(): Promise<void> {
    await this.compactor.pass();
  }

  private async writeLocal({ tenant, blockId, spans }: Head): Promise<BlockMeta> {
    const { meta, objects } = writeBlock([spans], { tenant, blockId, ...FILTERS });
    for (const [name, bytes] of objects) await this.local.write(`${tenant}/${blockId}/${name}`, bytes);
    return metaFromJson(objects.get(META_NAME)!) ?? meta;
  }

  private runCompaction(job: CompactionJob, scratch: ObjectStore, disk: MemoryStore) {
    const folder = `${job.inputs[0]!.tenantId}/${job.blockId}`;
    const files: [name: string, bytes: Uint8Array][] = [];
    const sink = {
      create: (name: string) => {
        const parts: Uint8Array[] = [];
        return {
          write: (bytes: Uint8Array) => void parts.push(bytes.slice()),
          close: () => void files.push([name, Uint8Array.from(Buffer.concat(parts))]),
        };
      },
      finish: () => files.forEach(([name, bytes]) => void disk.write(`${folder}/${name}`, bytes)),
    };
    return compactChecked(job, { backend: this.backend, scratch, sink, ...FILTERS });
  }

  private recentSources(tenant: string): RecentSources {
    const { heads, cut } = this.options.disk;
    const filled = [...heads.values(), ...cut].filter((head) => head.tenant === tenant);
    const blocks = this.localBlocks.overlapping(tenant, { startSec: undefined, endSec: undefined });
    for (const block of blocks) block.readers++;
    const sources: SourceRef[] = [
      ...filled.map(({ blockId, builder }) => ({ kind: 'head', blockId, sab: builder.sab }) as const),
      ...blocks.map(({ meta }) => ({ kind: 'block', meta, location: 'local' }) as const),
    ];
    return { sources, complete: true, release: () => blocks.forEach((block) => void block.readers--) };
  }

  private createQuerier(common: { readonly metrics: Metrics; readonly nowMs: () => number }): LocalQuerier {
    const scanner = new Scanner({ local: this.local, backend: this.backend, cacheBytes: 1 << 20 });
    const never = new AbortController().signal;
    return new LocalQuerier({
      ...common,
      blocklist: this.blocklist,
      logger: silentLogger,
      admit: () => Promise.resolve(),
      pool: { run: (job, { signal }) => scanner.run(job, signal ?? never) },
      recent: { recentSources: (tenant) => Promise.resolve(this.recentSources(tenant)) },
      targetBytesPerJob: 1 << 20,
      scanThreads: 2,
      concurrentJobs: 4,
      metricsJobs: { targetBytesPerJob: 1 << 20, concurrentJobs: 4 },
      samplesMax: 1e6,
      resultBytesMax: 1 << 26,
      resultBytesTaken: () => {},
      metricsPartsBytesMax: 1 << 26,
      idsPerJob: 1e6,
      sharedCacheBytes: 1 << 20,
      jobLimitMs: () => 0,
    });
  }
}
