// What the engine sees of stored spans: vectors of fields, whether they come from a head in memory or from a
// row group of a block. A source is loaded in steps (I/O may happen there) and then evaluated without
// waiting.

import type { Bitset } from '../lib/bitset.ts';
import type { NumberArray } from '../lib/narrow-numbers.ts';

/** What owns a value. Spans point at their trace, resource and scope; events and links at their span. */
export type Owner = 'trace' | 'resource' | 'scope' | 'span' | 'event' | 'link';

export const ValueType = {
  nil: 0,
  string: 1,
  bool: 2,
  int: 3,
  float: 4,
  duration: 5, // ns
  status: 6, // TraceQL order is by name only: OTLP's 0 unset, 1 ok, 2 error, or any other int32
  kind: 7, // OTLP numbers 0..5, or any other int32
  bytes: 8, // ids: raw bytes in the string table
} as const;
export type ValueType = (typeof ValueType)[keyof typeof ValueType];

/** Scopes of attributes as TraceQL names them. */
export type AttributeScope = 'span' | 'resource' | 'event' | 'link' | 'instrumentation';

/**
 * Fields every span has by nature. `span:start`, `trace:start` and `trace:serviceStats` are for results
 * only.
 */
export type Intrinsic =
  | 'span:duration'
  | 'span:name'
  | 'span:status'
  | 'span:statusMessage'
  | 'span:kind'
  | 'span:id'
  | 'span:parentID'
  | 'span:childCount'
  | 'span:start'
  | 'span:nestedSetLeft'
  | 'span:nestedSetRight'
  | 'span:nestedSetParent'
  | 'trace:id'
  | 'trace:duration'
  | 'trace:rootName'
  | 'trace:rootService'
  | 'trace:start'
  | 'event:name'
  | 'event:timeSinceStart'
  | 'link:traceID'
  | 'link:spanID'
  | 'instrumentation:name'
  | 'instrumentation:version';

export type Field =
  | { readonly kind: 'attribute'; readonly scope: AttributeScope; readonly name: string }
  | { readonly kind: 'intrinsic'; readonly name: Intrinsic };

/** A stable key of a field, for maps. */
export function fieldKey(field: Field): string {
  return field.kind === 'intrinsic' ? field.name : `${field.scope}.${field.name}`;
}

/**
 * Byte strings addressed by number. Equal numbers are equal strings; equal strings may have several
 * numbers.
 */
export interface StringTable {
  readonly size: number;
  /** A view; valid while the source is. */
  bytes(id: number): Uint8Array;
}

/**
 * The values of one field: entry i belongs to owner `owners[i]` (ascending; an owner may have none, one, or
 * several entries), or to owner i when `owners` is undefined (exactly one entry each).
 */
export interface Vector {
  readonly owner: Owner;
  readonly count: number;
  readonly owners: Int32Array | undefined;
  /** One type for all, or a type an entry. */
  readonly type: ValueType | Uint8Array;
  /** string, bytes: ids in `table`. */
  readonly str: Int32Array | undefined;
  readonly table: StringTable | undefined;
  /** numbers, bools, durations, status, kind; value = base + num. */
  readonly num: NumberArray | undefined;
  readonly base: bigint;
  /** Exact 64-bit values (without base), present when some entry of `num` is not exact. */
  readonly exact: BigInt64Array | undefined;
  /** 1 for entries that are elements of an array attribute; undefined when there are none. */
  readonly isElement: Uint8Array | undefined;
}

/**
 * A wanted field. With `equals` the source may leave out entries that are none of these strings;
 * with `rows` (ascending trace ordinals) it may leave out what belongs to other traces.
 */
export interface FieldRequest {
  readonly field: Field;
  readonly equals?: readonly Uint8Array[];
  /** The source may leave out entries of other types: a literal only ever matches values of its own kind. */
  readonly types?: readonly ValueType[];
}

export interface LoadOptions {
  readonly rows?: Int32Array;
  readonly signal?: AbortSignal;
}

export interface ServiceStats {
  readonly service: string;
  readonly spanCount: number;
  readonly errorCount: number;
}

/** Facts of one trace of the source, for a result. Times in unix ns. */
export interface TraceFacts {
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly rootService: string;
  readonly rootName: string;
  /** false when no root span has been seen. */
  readonly hasRoot: boolean;
  readonly startUnixNano: bigint;
  readonly endUnixNano: bigint;
  readonly services: readonly ServiceStats[];
}

/** A part of a cache that belongs to one source. */
export interface SourceMemo {
  /** The caller knows what kind of value it keeps under a name. */
  get<T extends object>(what: string): T | undefined;
  set(what: string, value: object, bytes: number): void;
}

/**
 * Spans of one tenant: a head, or one row group of a block. Ordinals are local to the source.
 * In a block the spans of a trace are neighbours; in a head they are not.
 */
export interface SpanSource {
  /** Block id and row group, or head id: for errors and for counting a source once. */
  readonly name: string;
  readonly traceCount: number;
  /** Known after `load`. */
  readonly spanCount: number;
  readonly bytesRead: number;
  /** Loading a part of the traces pays below this share of all; undefined = a usual one. */
  readonly partialShare?: number;
  /** Keeps what was found out about a source that never changes; undefined = it may change. */
  readonly memo?: SourceMemo;
  /** The same of a source that gains spans, whose earlier ones keep their ordinals and never change. */
  readonly grownMemo?: SourceMemo;

  /** 16 bytes a trace, in ordinal order. `sorted` when ascending. */
  traceIds(signal?: AbortSignal): Promise<{ readonly ids: Uint8Array; readonly sorted: boolean }>;

  /** Unix ns of each trace's first start and last end, exact to a microsecond: for the time filter. */
  traceTimes(signal?: AbortSignal): Promise<{
    readonly startMicros: Float64Array;
    readonly endMicros: Float64Array;
  }>;

  /** One vector for each request, in order. A field that the source does not have is an empty vector. */
  load(requests: readonly FieldRequest[], options?: LoadOptions): Promise<readonly Vector[]>;

  /**
   * Owner relations, loaded on demand: for each span its trace / resource / scope, for each event or link
   * its span.
   */
  relation(
    name: 'spanTrace' | 'spanResource' | 'spanScope' | 'eventSpan' | 'linkSpan',
    options?: LoadOptions,
  ): Promise<Int32Array>;

  /**
   * Names of the attributes that owners of a scope have, each once; with `owners` (by their ordinals) those
   * that one of these has.
   */
  attributeNames(
    scope: AttributeScope,
    owners: Bitset | undefined,
    signal?: AbortSignal,
  ): Promise<readonly string[]>;

  /**
   * All attributes that some owners (by their ordinals) of a scope have: by name the vector of their values,
   * in which others may be too.
   */
  attributes(
    scope: AttributeScope,
    owners: Bitset,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, Vector>>;

  /** Every value of the field at least once: a vector whose owners mean nothing. */
  distinct(field: Field, signal?: AbortSignal): Promise<Vector>;

  /** Facts of the traces, in the order asked. */
  facts(traces: Int32Array, signal?: AbortSignal): Promise<readonly TraceFacts[]>;
}
