// The JSON form of a block's meta, as it stands in meta.json and in tenant indexes.
import { TempoError } from '../lib/errors.ts';
import type { BlockMeta, DedicatedColumn } from './meta.ts';

interface DedicatedColumnJson {
  /** Scope; absent = span. */
  readonly s?: string;
  readonly n: string;
  /** Type; absent = string. */
  readonly t?: string;
  readonly o?: readonly string[];
}

export interface BlockMetaJson {
  readonly format: string;
  readonly blockID: string;
  readonly tenantID: string;
  readonly startTime: string;
  readonly endTime: string;
  readonly totalObjects: number;
  readonly size: number;
  readonly compactionLevel: number;
  readonly encoding: string;
  readonly indexPageSize: number;
  readonly totalRecords: number;
  readonly dataEncoding: string;
  readonly bloomShards: number;
  readonly footerSize: number;
  readonly dedicatedColumns?: readonly DedicatedColumnJson[];
  readonly replicationFactor?: number;
  /** Ours; others pass over it. */
  readonly valueFilterBytes?: number;
}

export function metaToJson(meta: BlockMeta): BlockMetaJson {
  return {
    format: meta.format,
    blockID: meta.blockId,
    tenantID: meta.tenantId,
    startTime: rfc3339(meta.startSec),
    endTime: rfc3339(meta.endSec),
    totalObjects: meta.totalObjects,
    size: meta.sizeBytes,
    compactionLevel: meta.compactionLevel,
    encoding: 'none',
    indexPageSize: 0,
    totalRecords: meta.totalRecords,
    dataEncoding: '',
    bloomShards: meta.bloomShards,
    footerSize: meta.footerSizeBytes,
    ...(meta.dedicatedColumns.length === 0
      ? {}
      : { dedicatedColumns: meta.dedicatedColumns.map(columnToJson) }),
    ...(meta.replicationFactor === 0 ? {} : { replicationFactor: meta.replicationFactor }),
    ...(meta.valueFilterBytes === undefined ? {} : { valueFilterBytes: meta.valueFilterBytes }),
  };
}

/**
 * The bytes of meta.json.
 *
 * @param compactedFrom ids of the blocks that it was made of. Tempo does not know the key, and ignores it.
 */
export function metaToBytes(meta: BlockMeta, compactedFrom: readonly string[] = []): Uint8Array {
  const json = { ...metaToJson(meta), ...(compactedFrom.length === 0 ? {} : { compactedFrom }) };
  return new TextEncoder().encode(JSON.stringify(json));
}

function rfc3339(unixSec: number): string {
  return new Date(unixSec * 1000).toISOString().replace('.000Z', 'Z');
}

function columnToJson(column: DedicatedColumn): DedicatedColumnJson {
  return {
    ...(column.scope === 'span' ? {} : { s: column.scope }),
    n: column.name,
    ...(column.type === 'string' ? {} : { t: column.type }),
    ...(column.options.length === 0 ? {} : { o: column.options }),
  };
}

export interface StoredMeta {
  readonly meta: BlockMeta;
  /** Ids of the blocks that it was made of, as far as it says so. */
  readonly compactedFrom: readonly string[];
}

/** Reads the bytes of meta.json. Unknown keys are ignored. Throws `block_corrupt`. */
export function metaFromJson(bytes: Uint8Array): BlockMeta {
  return storedMeta(bytes).meta;
}

/**
 * Reads the bytes of the meta.json in the folder of a block. What it says of tenant and block must be where
 * it lies: with the ids of another block, whose folder was copied or whose meta was forged, tenants would
 * read, mark and delete what is not theirs. Throws `block_corrupt`.
 */
export function metaOfFolder(bytes: Uint8Array, tenant: string, blockId: string): StoredMeta {
  const { meta, compactedFrom } = storedMeta(bytes);
  // Tempo takes the hexadecimal digits of a UUID in either case.
  if (meta.tenantId === tenant && meta.blockId.toLowerCase() === blockId.toLowerCase())
    return { meta: { ...meta, blockId }, compactedFrom };
  const whose = `${meta.tenantId}/${meta.blockId}`;
  throw new TempoError('block_corrupt', `what is stored as ${tenant}/${blockId} is the meta of ${whose}`);
}

/** As `metaFromJson`, with what a list of blocks has no use for. */
function storedMeta(bytes: Uint8Array): StoredMeta {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch (err) {
    throw new TempoError('block_corrupt', 'block meta is not JSON', err);
  }
  const { compactedFrom } = fields(parsed, 'block meta');
  return {
    meta: metaFromObject(parsed),
    compactedFrom: Array.isArray(compactedFrom) ? compactedFrom.map(String) : [],
  };
}

/** Takes the already parsed object, e.g. an entry of a tenant index. Throws `block_corrupt`. */
function metaFromObject(parsed: unknown): BlockMeta {
  const json = fields(parsed, 'block meta');
  return {
    format: text(json, 'format'),
    blockId: text(json, 'blockID'),
    tenantId: text(json, 'tenantID'),
    startSec: Math.floor(time(json, 'startTime')),
    endSec: Math.ceil(time(json, 'endTime')),
    totalObjects: count(json, 'totalObjects'),
    sizeBytes: count(json, 'size'),
    compactionLevel: count(json, 'compactionLevel'),
    totalRecords: count(json, 'totalRecords'),
    bloomShards: count(json, 'bloomShards'),
    footerSizeBytes: count(json, 'footerSize'),
    dedicatedColumns: columnList(json['dedicatedColumns']),
    replicationFactor: count(json, 'replicationFactor'),
    ...valueFilter(json['valueFilterBytes']),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown, what: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new TempoError('block_corrupt', `${what} is not an object`);
}

function text(json: Fields, key: string): string {
  const value = json[key];
  if (typeof value === 'string') return value;
  throw new TempoError('block_corrupt', `block meta lacks ${key}`);
}

/** Absent counts are 0. */
function count(json: Fields, key: string): number {
  const value = json[key] ?? 0;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TempoError('block_corrupt', `block meta has a bad ${key}`);
}

/** What is no size says that there is none: a block is read without it. */
function valueFilter(bytes: unknown): Pick<BlockMeta, 'valueFilterBytes'> {
  return typeof bytes === 'number' && Number.isSafeInteger(bytes) && bytes > 0
    ? { valueFilterBytes: bytes }
    : {};
}

/** Unix seconds. */
function time(json: Fields, key: string): number {
  const ms = Date.parse(text(json, key));
  if (Number.isNaN(ms)) throw new TempoError('block_corrupt', `block meta has a bad ${key}`);
  return ms / 1000;
}

function columnList(value: unknown): DedicatedColumn[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new TempoError('block_corrupt', 'block meta has bad dedicatedColumns');
  return value.map((item: unknown) => {
    const json = fields(item, 'dedicated column');
    const scope = json['s'] ?? 'span';
    const type = json['t'] ?? 'string';
    const options: unknown = json['o'] ?? [];
    if (
      (scope !== 'span' && scope !== 'resource' && scope !== 'event') ||
      (type !== 'string' && type !== 'int')
    ) {
      throw new TempoError('block_corrupt', 'block meta has a dedicated column of unknown scope or type');
    }
    if (!Array.isArray(options))
      throw new TempoError('block_corrupt', 'block meta has bad dedicated column options');
    return { scope, name: text(json, 'n'), type, options: options.map(String) };
  });
}
