// What the builder thread tells the main thread: heads that begin and are cut, what was counted, and requests
// that could not be taken in.
import type { Logger } from '../../telemetry/log.ts';
import type { Head, Heads } from './heads.ts';
import type { FromBuilder } from './messages.ts';
import { type IngesterMetrics, noteStats } from './metrics.ts';

type MessageOf<Kind extends FromBuilder['kind']> = FromBuilder & { readonly kind: Kind };

export interface BuilderMessagesOptions {
  readonly heads: Heads;
  readonly metrics: IngesterMetrics;
  readonly logger: Logger;
  /** What the log held is still being read. */
  readonly isStarting: () => boolean;
  /** A head grows no more. */
  readonly onCut: (head: Head) => void;
  readonly onDamage: (message: MessageOf<'damage'>) => void;
}

export class BuilderMessages {
  /** Memory of all heads. */
  headBytes = 0;
  readonly #options: BuilderMessagesOptions;

  constructor(options: BuilderMessagesOptions) {
    this.#options = options;
  }

  handle(message: FromBuilder): void {
    const { heads, logger, onDamage } = this.#options;
    switch (message.kind) {
      case 'head':
        heads.begin(message.tenant, message.blockId, message.sab, message.fromSequence);
        break;
      case 'cut':
        this.#cut(message);
        break;
      case 'stats':
        this.#count(message);
        break;
      case 'refused':
      case 'setAside':
      case 'notSetAside':
        this.#tellRequest(message);
        break;
      case 'damage':
        onDamage(message);
        break;
      case 'replayed':
        heads.dropOrphans();
        if (message.frames > 0)
          logger.info('log is replayed', { frames: message.frames, spans: message.spans });
        break;
      case 'flushed':
        break;
    }
  }

  #cut({ tenant, blockId, toSequence, usedBytes, spanCount, reason }: MessageOf<'cut'>): void {
    const { heads, metrics, onCut } = this.#options;
    const head = heads.find(tenant, blockId);
    if (head === undefined) return;
    head.state = 'cut';
    head.toSequence = toSequence;
    head.usedBytes = usedBytes;
    head.spanCount = spanCount;
    metrics.headsCut.inc({ reason });
    onCut(head);
  }

  #count({ tenants, tracesPerBatch, headBytes }: MessageOf<'stats'>): void {
    const { metrics } = this.#options;
    for (const stats of tenants) noteStats(metrics, stats);
    metrics.tracesPerBatch.add('', tracesPerBatch);
    metrics.headBytes.set(headBytes);
    this.headBytes = headBytes;
  }

  #tellRequest(message: MessageOf<'refused' | 'setAside' | 'notSetAside'>): void {
    const { metrics, logger, isStarting } = this.#options;
    const { tenant, sequence } = message;
    switch (message.kind) {
      case 'refused':
        metrics.refusedFrames.inc({ tenant });
        if (isStarting()) metrics.replayErrors.inc({ tenant });
        logger.error('a request of the log cannot be decoded, it is left out', {
          tenant,
          sequence,
          spans: message.spanCount,
          reason: message.message,
        });
        break;
      case 'setAside':
        metrics.replayErrors.inc({ tenant });
        logger.error('a request of the log ends the builder thread, it is set aside', {
          tenant,
          sequence,
          spans: message.spanCount,
          file: message.path,
        });
        break;
      case 'notSetAside':
        logger.error('a request that ends the builder thread cannot be set aside, it is tried again', {
          tenant,
          sequence,
          reason: message.message,
        });
        break;
    }
  }
}
