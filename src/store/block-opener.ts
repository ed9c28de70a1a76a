// Opens blocks for a scan thread, from the ingester's folder or from the backend.
import type { BlockMeta } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { SpanSource } from '../traceql/source.ts';

export interface OpenBlock {
  readonly rowGroups: readonly SpanSource[];
  findTrace(
    id: Uint8Array,
    signal: AbortSignal,
  ): Promise<{ readonly part: Uint8Array | undefined; readonly bytesRead: number }>;
}

export interface BlockOpenerOptions {
  readonly local: ObjectStore;
  readonly backend: ObjectStore;
  readonly cacheBytes: number;
}

export class BlockOpener {
  readonly options: BlockOpenerOptions;

  constructor(options: BlockOpenerOptions) {
    this.options = options;
  }

  open(meta: BlockMeta, _location: 'local' | 'backend', _signal: AbortSignal): Promise<OpenBlock> {
    return Promise.reject(new TempoError('unimplemented', `block ${meta.blockId} cannot be read yet`));
  }
}
