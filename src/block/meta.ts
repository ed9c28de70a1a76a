// The meta.json of a block: the one description of a block that every reader and writer shares.

/** The object that makes a block of the others. */
export const META_NAME = 'meta.json';
/** What it is called once the block is of no use and waits for its deletion. */
export const COMPACTED_META_NAME = 'meta.compacted.json';

const BLOCK_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isBlockId(text: string): boolean {
  return BLOCK_ID.test(text);
}

/** The object with the filter over attribute values. */
export const VALUE_FILTER_NAME = 'value-filter';

export interface DedicatedColumn {
  readonly scope: 'span' | 'resource' | 'event';
  readonly name: string;
  readonly type: 'string' | 'int';
  readonly options: readonly string[];
}

export interface BlockMeta {
  readonly format: string;
  readonly blockId: string;
  readonly tenantId: string;
  /** Unix seconds: floor of the first start, ceiling of the last end. */
  readonly startSec: number;
  readonly endSec: number;
  /** Traces. */
  readonly totalObjects: number;
  /** Bytes of data.parquet. */
  readonly sizeBytes: number;
  readonly compactionLevel: number;
  /** Row groups. */
  readonly totalRecords: number;
  readonly bloomShards: number;
  readonly footerSizeBytes: number;
  readonly dedicatedColumns: readonly DedicatedColumn[];
  readonly replicationFactor: number;
  /** Of the object with the filter over its attribute values, which only we write; absent = there is none. */
  readonly valueFilterBytes?: number;
}
