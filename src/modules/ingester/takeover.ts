// What Grafana Tempo left in the data folder becomes local blocks, which are found and uploaded like all
// others.
import { LocalStore } from '../../objectstore/local.ts';
import { filesOpenElsewhere } from '../../store/log/foreign-users.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Counter } from '../../telemetry/metrics.ts';
import type { DedicatedColumnsOf } from './block-writer.ts';
import type { BlockWorkerData } from './messages.ts';
import { WalFolders } from './wal-folders.ts';
import { WalImportThread } from './wal-import-thread.ts';

export interface TakeoverOptions {
  readonly walPath: string;
  readonly block: Omit<BlockWorkerData, 'path'>;
  readonly dedicatedColumnsOf: DedicatedColumnsOf;
  readonly maxBlockBytes: number;
  /** Memory of all heads; there are none yet. */
  readonly headBytesMax: number;
  readonly logger: Logger;
  /** `tempo_ingester_replay_errors_total`. */
  readonly replayErrors: Counter;
  readonly nowMs: () => number;
}

/** Of the memory of heads: for the one that WAL folders are read into. */
const HEAD_SHARE = 0.5;

export class Takeover {
  private readonly options: TakeoverOptions;
  private readonly thread: WalImportThread;

  constructor(options: TakeoverOptions) {
    this.options = options;
    const { walPath, block, maxBlockBytes, headBytesMax } = options;
    this.thread = new WalImportThread({
      walPath,
      blocksPath: `${walPath}/blocks`,
      ...block,
      maxBlockBytes,
      headBytesMax: Math.floor(headBytesMax * HEAD_SHARE),
    });
  }

  /** Only while the data folder is locked. */
  async run(): Promise<void> {
    const { walPath, logger, replayErrors, nowMs, dedicatedColumnsOf } = this.options;
    const store = new LocalStore(walPath);
    const folders = new WalFolders({
      store,
      run: (job) => this.thread.run({ ...job, dedicatedColumns: dedicatedColumnsOf(job.meta.tenantId) }),
      openElsewhere: () => filesOpenElsewhere(walPath),
      logger,
      replayErrors,
      nowMs,
    });
    await folders.takeOver();
    await this.thread.stop();
  }

  stop(): Promise<void> {
    return this.thread.stop();
  }
}
