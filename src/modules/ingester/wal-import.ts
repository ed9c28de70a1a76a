// Makes blocks of one WAL folder that Grafana Tempo left: its small Parquet files are read into a head, which
// is written as a block when it is large enough. Knows nothing of which folders there are and of what becomes
// of them afterwards.
import { createHash } from 'node:crypto';
import { ArenaFullError } from '../../block/head/arena.ts';
import { HeadBuilder } from '../../block/head/builder.ts';
import { HeadReader } from '../../block/head/reader.ts';
import { type BlockCompression, blockCompressor, blockDecompressors } from '../../block/compression.ts';
import { type BlockMeta, type DedicatedColumn, META_NAME } from '../../block/meta.ts';
import type { BloomOptions } from '../../block/trace-bloom.ts';
import { createBlock } from '../../block/vparquet/create.ts';
import { openBlock } from '../../block/vparquet/open.ts';
import type { RowGroupSource } from '../../block/vparquet/row-group.ts';
import type { WrittenFormat } from '../../block/vparquet/schema.ts';
import { TempoError } from '../../lib/errors.ts';
import { noteReleasedBytes } from '../../lib/garbage.ts';
import { ByteLru } from '../../lib/lru.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import { SyncedFolder } from '../../objectstore/synced-folder.ts';

export interface ImportSettings {
  /** Where WAL folders are. */
  readonly walPath: string;
  /** Where complete blocks go. */
  readonly blocksPath: string;
  readonly format: WrittenFormat;
  readonly dedicatedColumns: readonly DedicatedColumn[];
  readonly bloom: BloomOptions;
  readonly valueFilterBytesMax: number;
  /** undefined = zstd. */
  readonly compression?: BlockCompression | undefined;
  /** Estimated bytes at which a block is written. */
  readonly maxBlockBytes: number;
  /** Memory of the head at which a block is written. */
  readonly headBytesMax: number;
}

export interface ImportJob {
  /** Name of the WAL folder. */
  readonly folder: string;
  /** What its meta.json says. */
  readonly meta: BlockMeta;
  readonly files: readonly string[];
  /** The tenant's own; undefined = the usual ones. */
  readonly dedicatedColumns?: readonly DedicatedColumn[] | undefined;
}

export interface ImportReport {
  /** The blocks that now hold what could be read; complete and synced. */
  readonly blockIds: readonly string[];
  readonly traces: number;
  readonly spans: number;
  /** Read to the end. */
  readonly taken: readonly string[];
  readonly failed: readonly FailedFile[];
}

interface FailedFile {
  readonly file: string;
  /** What of it came into blocks before the damage. */
  readonly spans: number;
  readonly reason: string;
}

/** Rows are decoded together: about this many spans at once. */
const SPANS_AT_ONCE = 20_000;
const ROWS_AT_ONCE = 1000;
const CACHE_BYTES = 16 * 1024 * 1024;
const HEAD_RESERVE_FACTOR = 4;
const HEAD_RESERVE_MAX = 0xffff_0000;
const UUID_BYTES = 16;

/**
 * The id of the block whose first row this is (RFC 9562, version 5): taking a folder over again after a crash
 * writes the same blocks again, in the place of the ones that are there.
 */
export function importedBlockId(walBlockId: string, file: string, row: number): string {
  const namespace = Buffer.from(walBlockId.replaceAll('-', ''), 'hex');
  const hash = createHash('sha1').update(namespace).update(`${file}/${row}`).digest();
  const bytes = hash.subarray(0, UUID_BYTES);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

interface OpenHead {
  readonly blockId: string;
  readonly builder: HeadBuilder;
}

export class WalImport {
  private readonly settings: ImportSettings;
  private readonly store: ObjectStore;
  private readonly job: ImportJob;
  private readonly decompressors = blockDecompressors();
  private readonly blockIds: string[] = [];
  private head: OpenHead | undefined;
  private traces = 0;
  private spans = 0;

  /** @param store over `walPath`. */
  constructor(settings: ImportSettings, store: ObjectStore, job: ImportJob) {
    this.settings = settings;
    this.store = store;
    this.job = job;
  }

  /** Rejects when a block cannot be written; files that cannot be read are told in the report. */
  async run(): Promise<ImportReport> {
    const taken: string[] = [];
    const failed: FailedFile[] = [];
    for (const file of this.job.files) {
      const before = this.spans;
      try {
        await this.file(file);
        taken.push(file);
      } catch (err) {
        if (err instanceof BlockNotWritten) throw err;
        const reason = err instanceof Error ? err.message : String(err);
        failed.push({ file, spans: this.spans - before, reason });
      }
    }
    this.cut();
    const { blockIds, traces, spans } = this;
    return { blockIds, traces, spans, taken, failed };
  }

  private async file(file: string): Promise<void> {
    const { meta, folder } = this.job;
    const key = `${folder}/${file}`;
    const { sizeBytes } = await this.store.stat(key);
    const block = await openBlock({
      meta: { ...meta, blockId: `${meta.blockId}/${file}`, sizeBytes, footerSizeBytes: 0 },
      readRange: (offset, length) => this.store.readRange(key, offset, length),
      decompressors: this.decompressors,
      cache: new ByteLru(CACHE_BYTES),
    });
    let firstRow = 0;
    for (const group of block.rowGroups) {
      const step = rowsAtOnce(group);
      for (let row = 0; row < group.traceCount; row += step) {
        const count = Math.min(step, group.traceCount - row);
        const bytes = await group.rowTraces(Int32Array.from({ length: count }, (_, i) => row + i));
        this.append(bytes, file, firstRow + row);
      }
      firstRow += group.traceCount;
    }
  }

  private append(bytes: Uint8Array, file: string, row: number): void {
    let head = this.head ?? this.begin(file, row);
    try {
      this.spans += head.builder.append(bytes, 0, bytes.length).spans;
    } catch (err) {
      if (!(err instanceof ArenaFullError) || head.builder.spanCount === 0) throw err;
      this.cut();
      head = this.begin(file, row);
      this.spans += head.builder.append(bytes, 0, bytes.length).spans;
    }
    const { maxBlockBytes, headBytesMax } = this.settings;
    const { estimatedBlockBytes, usedBytes } = head.builder;
    if (estimatedBlockBytes >= maxBlockBytes || usedBytes >= headBytesMax) this.cut();
  }

  private begin(file: string, row: number): OpenHead {
    const maxBytes = Math.min(this.settings.headBytesMax * HEAD_RESERVE_FACTOR, HEAD_RESERVE_MAX);
    const head = {
      blockId: importedBlockId(this.job.meta.blockId, file, row),
      builder: new HeadBuilder({ maxBytes }),
    };
    this.head = head;
    return head;
  }

  /** Writes the head as a block. */
  private cut(): void {
    const { head } = this;
    this.head = undefined;
    if (head === undefined || head.builder.traceCount === 0) return;
    const { blocksPath, format, bloom, valueFilterBytesMax, compression } = this.settings;
    const options = { bloom, valueFilterBytesMax, compressor: blockCompressor(compression) };
    const dedicatedColumns = this.job.dedicatedColumns ?? this.settings.dedicatedColumns;
    const { blockId, builder } = head;
    const tenant = this.job.meta.tenantId;
    let sink: SyncedFolder | undefined;
    try {
      sink = new SyncedFolder(blocksPath, `${tenant}/${blockId}`, META_NAME);
      const reader = new HeadReader(builder.sab);
      createBlock({ head: reader, blockId, tenant, format, dedicatedColumns, options, sink });
      sink.finish();
    } catch (err) {
      throw new BlockNotWritten(blockId, err);
    } finally {
      sink?.abandon();
    }
    this.blockIds.push(blockId);
    this.traces += builder.traceCount;
    noteReleasedBytes(builder.sab.byteLength);
  }
}

/** Ends the import, unlike a file that cannot be read. */
class BlockNotWritten extends TempoError {
  constructor(blockId: string, cause: unknown) {
    super('unavailable', `block ${blockId} cannot be written`, cause);
  }
}

function rowsAtOnce(group: RowGroupSource): number {
  const spansPerRow = group.spanCount / Math.max(1, group.traceCount);
  return Math.max(1, Math.min(ROWS_AT_ONCE, Math.floor(SPANS_AT_ONCE / Math.max(1, spansPerRow))));
}
