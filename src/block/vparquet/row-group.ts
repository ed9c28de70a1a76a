// One row group of a block as a source of spans for the query engine. Vectors are made from whole columns
// or, for a few traces, from single rows; what took work is kept in the thread's cache.
import type { Bitset } from '../../lib/bitset.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Scratch } from '../../lib/scratch.ts';
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import { readNumbers, readStrings } from '../../parquet/column-reader.ts';
import {
  type AttributeScope,
  type Field,
  fieldKey,
  ValueType,
  type FieldRequest,
  type LoadOptions,
  type SourceMemo,
  type SpanSource,
  type TraceFacts,
  type Vector,
} from '../../traceql/source.ts';
import { digestsAt, type StoredSpans, type LocatedTrace } from '../stored-spans.ts';
import { attributeNames } from './attribute-names.ts';
import { COUNTING_COLUMN, SCOPE_OWNER } from './block-columns.ts';
import { childCounts, isChildCountMissing } from './child-count.ts';
import { distinctVector } from './distinct-vector.ts';
import { traceFacts } from './facts.ts';
import { findRow } from './find-row.ts';
import { genericParts, valueColumn } from './generic-vector.ts';
import { type BlockFile, GroupColumns } from './group-columns.ts';
import { fieldColumns, rowVectors } from './row-vectors.ts';
import { ownedAttributes } from './owned-attributes.ts';
import { loadChildTree, loadSpanTree } from './span-tree.ts';
import { rowDigest, spanDigests } from './span-digests.ts';
import { storedPart } from './stored-vector.ts';
import { type AttributeOrder, TRACE_COLUMNS, writeTraces, type WrittenTraces } from './trace-writer.ts';
import { narrowed, type VectorPart, vectorBytes, vectorOf } from './vector-parts.ts';

type RelationName = Parameters<SpanSource['relation']>[0];

/**
 * Reading rows apart pays while they touch less than this share of the pages; whole vectors also stay in
 * the cache, which pays when they are asked for again. The first time more may be read apart: of an
 * attribute, whose values are sought among those of others, less than of an intrinsic.
 */
const PAGES_SHARE_MAX = 1 / 4;
const ATTRIBUTE_SHARE_FIRST_MAX = 1 / 2;
/** Literals longer than this (together) do not name a cached vector. */
const LITERALS_KEY_MAX = 512;
const NANOS_BYTES = 8;
/** What an entry of the cache takes beside its value. */
const ENTRY_BYTES = 200;

export class RowGroupSource implements StoredSpans {
  readonly name: string;
  readonly traceCount: number;
  spanCount: number;
  readonly group: GroupColumns;
  readonly memo: SourceMemo;

  constructor(file: BlockFile, index: number) {
    this.name = `${file.blockId}/${index}`;
    this.group = new GroupColumns(file, index);
    this.memo = new GroupMemo(this.group);
    this.traceCount = this.group.rowCount;
    this.spanCount = Math.max(0, this.group.valueCount(COUNTING_COLUMN.span));
  }

  /** Bytes read from storage: what came from the cache is not counted. */
  get bytesRead(): number {
    return this.group.bytesRead;
  }

  async traceIds(signal?: AbortSignal): Promise<{ readonly ids: Uint8Array; readonly sorted: boolean }> {
    const key = this.group.cacheKey('ids');
    const { cache } = this.group.file;
    const cached = cache.get<{ ids: Uint8Array; sorted: boolean }>(key);
    if (cached !== undefined) return cached;
    const result = await this.group.lend((scratch) => this.readIds(scratch, signal));
    cache.set(key, result, result.ids.length);
    return result;
  }

  private async readIds(
    scratch: Scratch,
    signal?: AbortSignal,
  ): Promise<{ readonly ids: Uint8Array; readonly sorted: boolean }> {
    const pages = await this.group.pages('TraceID', scratch, signal);
    const { ids: order, table } = readStrings(pages, await this.group.dictionary('TraceID', signal));
    if (order.length !== this.traceCount) throw this.group.damaged('TraceID', 'has not one id a row');
    const ids = new Uint8Array(order.length * TRACE_ID_BYTES);
    let sorted = true;
    for (let i = 0; i < order.length; i++) {
      const start = table.offset(order[i]);
      const length = table.length(order[i]);
      if (length > TRACE_ID_BYTES) throw this.group.damaged('TraceID', 'has an id of more than 16 bytes');
      const bytes = table.bufferOf(order[i]);
      const at = (i + 1) * TRACE_ID_BYTES - length;
      for (let k = 0; k < length; k++) ids[at + k] = bytes[start + k];
      if (i > 0 && sorted) sorted = ascending(ids, (i - 1) * TRACE_ID_BYTES);
    }
    return { ids, sorted };
  }

  async traceTimes(signal?: AbortSignal): Promise<{ startMicros: Float64Array; endMicros: Float64Array }> {
    const key = this.group.cacheKey('times');
    const { cache } = this.group.file;
    const cached = cache.get<{ startMicros: Float64Array; endMicros: Float64Array }>(key);
    if (cached !== undefined) return cached;
    const times = {
      startMicros: await this.micros('StartTimeUnixNano', signal),
      endMicros: await this.micros('EndTimeUnixNano', signal),
    };
    cache.set(key, times, 2 * times.startMicros.byteLength);
    return times;
  }

  private async micros(name: string, signal?: AbortSignal): Promise<Float64Array> {
    const { num, base, exact } = await this.group.lend(async (scratch) => {
      const pages = await this.group.pages(name, scratch, signal);
      return readNumbers(pages, await this.group.dictionary(name, signal));
    });
    if (num.length !== this.traceCount) throw this.group.damaged(name, 'has not one time a row');
    const wholeMicros = Number(base / 1000n);
    const rest = Number(base % 1000n);
    const out = new Float64Array(num.length);
    for (let i = 0; i < out.length; i++) {
      out[i] =
        exact === undefined
          ? wholeMicros + (num[i] + rest) / 1000
          : Number(BigInt.asUintN(64, exact[i])) / 1000;
    }
    return out;
  }

  async load(requests: readonly FieldRequest[], options: LoadOptions = {}): Promise<readonly Vector[]> {
    const { rows, signal } = options;
    await this.countSpans(signal);
    if (requests.some(({ field }) => isChildCountMissing(this.group, field))) {
      const vectors: Vector[] = [];
      for (const request of requests) vectors.push(await this.storedOrCounted(request, options));
      return vectors;
    }
    if (rows !== undefined && (await this.areFew(rows, requests, signal))) {
      return rowVectors(this.group, requests, rows, signal);
    }
    const vectors: Vector[] = [];
    for (const request of requests) vectors.push(await this.vector(request, signal));
    return vectors;
  }

  private async storedOrCounted(request: FieldRequest, options: LoadOptions): Promise<Vector> {
    if (!isChildCountMissing(this.group, request.field)) return (await this.load([request], options))[0];
    return childCounts(this.group, options.signal);
  }

  private async areFew(
    rows: Int32Array,
    requests: readonly FieldRequest[],
    signal?: AbortSignal,
  ): Promise<boolean> {
    if (requests.every((request) => this.keptVector(request) !== undefined)) return false;
    const share = await this.group.pageShare(COUNTING_COLUMN.span, rows, signal);
    if (share <= PAGES_SHARE_MAX) return true;
    const isPossible = ({ field }: FieldRequest): boolean =>
      field.kind === 'intrinsic' || share <= ATTRIBUTE_SHARE_FIRST_MAX;
    if (!requests.every(isPossible)) return false;
    return requests.every(({ field }) => this.group.isFirstTime(`rows/${fieldKey(field)}`));
  }

  /** What the cache has that answers the request. */
  private keptVector(request: FieldRequest): Vector | undefined {
    const { cache } = this.group.file;
    return (
      cache.get<Vector>(this.vectorKey(request)) ??
      cache.get<Vector>(this.vectorKey({ field: request.field }))
    );
  }

  private vectorKey(request: FieldRequest): string {
    return this.group.cacheKey(`v/${fieldKey(request.field)}\0${restriction(request)}`);
  }

  private async vector(request: FieldRequest, signal?: AbortSignal): Promise<Vector> {
    const kept = this.keptVector(request);
    if (kept !== undefined) return kept;
    const { field, equals, types } = request;
    const { owner, stored, scope, name } = fieldColumns(this.group, field);
    const parts: VectorPart[] = [];
    for (const column of stored) {
      if (scope !== undefined && !isWanted(column.type, request)) continue;
      const part = await storedPart(this.group, column, equals, signal);
      if (part !== undefined) parts.push(part);
    }
    if (scope !== undefined)
      parts.push(...(await genericParts(this.group, { scope, name, equals, types }, signal)));
    const vector = narrowed(vectorOf(owner, parts));
    const columns = stored.map(({ column }) => column);
    if (scope !== undefined) columns.push(valueColumn(scope));
    this.keepVector(request, vector, parts, columns);
    return vector;
  }

  private keepVector(
    request: FieldRequest,
    vector: Vector,
    parts: readonly VectorPart[],
    columns: readonly string[],
  ): void {
    if (restriction(request).length > LITERALS_KEY_MAX) return;
    const needs: string[] = [];
    let bytes = vectorBytes(vector);
    for (const { table } of parts) {
      const key = table === undefined ? undefined : this.group.keyOfTable(table, columns);
      if (key !== undefined) needs.push(key);
      else bytes += table?.sizeBytes ?? 0;
    }
    this.group.file.cache.set(this.vectorKey(request), vector, bytes, needs);
  }

  /** Where the footer does not say how many spans there are, the levels do. */
  private async countSpans(signal?: AbortSignal): Promise<void> {
    if (this.group.valueCount(COUNTING_COLUMN.span) < 0) {
      this.spanCount = (await loadSpanTree(this.group, signal)).spanTrace.length;
    }
  }

  async relation(name: RelationName, options: LoadOptions = {}): Promise<Int32Array> {
    const { signal } = options;
    switch (name) {
      case 'eventSpan':
        return (await loadChildTree(this.group, 'event', signal)).span;
      case 'linkSpan':
        return (await loadChildTree(this.group, 'link', signal)).span;
      default:
        return (await loadSpanTree(this.group, signal))[name];
    }
  }

  attributeNames(
    scope: AttributeScope,
    owners: Bitset | undefined,
    signal?: AbortSignal,
  ): Promise<readonly string[]> {
    return attributeNames(this.group, scope, owners, signal);
  }

  async attributes(
    scope: AttributeScope,
    owners: Bitset,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, Vector>> {
    const vectors = new Map<string, Vector>();
    for (const [name, parts] of await ownedAttributes(this.group, scope, owners, signal)) {
      vectors.set(name, vectorOf(SCOPE_OWNER[scope], parts));
    }
    // what has a column of its own may be generic too, where its type is another
    for (const { name, column } of this.group.file.columns.attributeColumns(scope)) {
      if (!this.group.hasValues(column)) continue;
      vectors.set(name, await this.vector({ field: { kind: 'attribute', scope, name } }, signal));
    }
    return vectors;
  }

  distinct(field: Field, signal?: AbortSignal): Promise<Vector> {
    return distinctVector(this.group, field, signal);
  }

  async facts(traces: Int32Array, signal?: AbortSignal): Promise<readonly TraceFacts[]> {
    return traceFacts(this.group, (await this.traceIds(signal)).ids, traces, signal);
  }

  /** @param id 16 bytes. @returns undefined when the row group does not have the trace. */
  async locate(id: Uint8Array, signal?: AbortSignal): Promise<LocatedTrace | undefined> {
    if (id.length !== TRACE_ID_BYTES) throw new TempoError('invalid_argument', 'a trace id has 16 bytes');
    const row = await findRow(this.group, id, signal);
    if (row < 0) return undefined;
    const rows = Int32Array.of(row);
    return {
      digest: () => rowDigest(this.group, row, signal),
      read: async () => (await this.writeRows(rows, id, 'genericFirst', signal)).bytes,
    };
  }

  /**
   * Some rows (ascending) as one OTLP TracesData from which another block is made: of a key that an owner has
   * twice the same one keeps its column.
   */
  async rowTraces(rows: Int32Array, signal?: AbortSignal): Promise<Uint8Array> {
    return (await this.writeRows(rows, await this.idsOf(rows, signal), 'ownFirst', signal)).bytes;
  }

  /** What was written stays in the cache: reading few rows costs almost as much as reading all. */
  async traces(rows: Int32Array, signal?: AbortSignal): Promise<Uint8Array> {
    const { cache } = this.group.file;
    const key = (row: number): string => this.group.cacheKey(`t/${row}`);
    const kept = Array.from(rows, (row) => cache.get<Uint8Array>(key(row)));
    const missing = rows.filter((_, i) => kept[i] === undefined);
    if (missing.length > 0) {
      const { bytes, ends } = await this.writeRows(
        missing,
        await this.idsOf(missing, signal),
        'genericFirst',
        signal,
      );
      let begin = 0;
      let next = 0;
      rows.forEach((row, i) => {
        if (kept[i] !== undefined) return;
        const part = bytes.slice(begin, (begin = ends[next++]));
        kept[i] = part;
        cache.set(key(row), part, part.length + ENTRY_BYTES);
      });
    }
    return joined(kept);
  }

  private async idsOf(rows: Int32Array, signal?: AbortSignal): Promise<Uint8Array> {
    const { ids } = await this.traceIds(signal);
    const some = new Uint8Array(rows.length * TRACE_ID_BYTES);
    rows.forEach((row, i) =>
      some.set(ids.subarray(row * TRACE_ID_BYTES, (row + 1) * TRACE_ID_BYTES), i * TRACE_ID_BYTES),
    );
    return some;
  }

  /** Of the statistics of the row group. */
  async newestStart(): Promise<number> {
    const max = this.group.chunk('StartTimeUnixNano')?.statistics?.max;
    if (max?.length !== NANOS_BYTES) return Infinity;
    const view = new DataView(max.buffer, max.byteOffset, NANOS_BYTES);
    return Math.ceil(Number(view.getBigUint64(0, true)) / 1000);
  }

  /** By the statistics, which may be shortened. */
  mayHaveIds(from: number, to: number): boolean {
    const { min, max } = this.group.chunk('TraceID')?.statistics ?? {};
    if (min?.length !== TRACE_ID_BYTES || max?.length !== TRACE_ID_BYTES) return true;
    return firstBits(min) < to && firstBits(max) >= from;
  }

  async spanDigests(rows: Int32Array, signal?: AbortSignal): Promise<Int32Array> {
    return digestsAt(await spanDigests(this.group, signal), rows);
  }

  private async writeRows(
    rows: Int32Array,
    ids: Uint8Array,
    order: AttributeOrder,
    signal?: AbortSignal,
  ): Promise<WrittenTraces> {
    const names = TRACE_COLUMNS.filter((name) => this.group.hasValues(name));
    for (const { column } of this.group.file.columns.allAttributeColumns()) {
      if (this.group.hasValues(column)) names.push(column);
    }
    return this.group.lend(async (scratch) => {
      const columns = await this.group.rows(names, rows, scratch, signal);
      return writeTraces(columns, this.group.file.columns, ids, order);
    });
  }
}

class GroupMemo implements SourceMemo {
  private readonly group: GroupColumns;

  constructor(group: GroupColumns) {
    this.group = group;
  }

  get<T extends object>(what: string): T | undefined {
    return this.group.file.memos.get<T>(this.group.cacheKey(`m/${what}`));
  }

  set(what: string, value: object, bytes: number): void {
    this.group.file.memos.set(this.group.cacheKey(`m/${what}`), value, bytes);
  }
}

function ascending(ids: Uint8Array, at: number): boolean {
  for (let k = 0; k < TRACE_ID_BYTES; k++) {
    const difference = ids[at + TRACE_ID_BYTES + k] - ids[at + k];
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** What of a request leaves values out; '' = nothing. */
function restriction({ equals, types }: FieldRequest): string {
  const strings = equals === undefined ? '' : equals.map((bytes) => `=${bytes.join()}`).join('|');
  return types === undefined ? strings : `${strings}:${types.join()}`;
}

/** False when no value of this type is asked for: strings are compared with strings only. */
function isWanted(type: ValueType, { equals, types }: FieldRequest): boolean {
  if (equals !== undefined && type !== ValueType.string) return false;
  return types === undefined || types.includes(type);
}

function firstBits(id: Uint8Array): number {
  return new DataView(id.buffer, id.byteOffset).getUint32(0);
}

function joined(parts: readonly (Uint8Array | undefined)[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
  let at = 0;
  for (const part of parts) {
    if (part === undefined) continue;
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
