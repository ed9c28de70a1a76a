// A head as the query engine sees it: a snapshot whose vectors are made when a query asks for them.
import { Bitset } from '../../lib/bitset.ts';
import type {
  AttributeScope,
  Field,
  FieldRequest,
  LoadOptions,
  SourceMemo,
  SpanSource,
  TraceFacts,
  Vector,
} from '../../traceql/source.ts';
import { addToDigest, DIGEST_WORDS, type StoredSpans } from '../stored-spans.ts';
import { attributeKeys } from './attribute-keys.ts';
import { type AttributeStore, attributeVector, attributeVectors } from './attribute-vector.ts';
import { type Selection, intrinsicVector } from './intrinsic-vector.ts';
import { HeadColumns } from './head-columns.ts';
import { KIND, kindOrStatus } from './kind-status.ts';
import type { HeadReader } from './reader.ts';
import { encodeTrace } from './trace-encoder.ts';
import { TraceFactsReader } from './trace-facts.ts';
import { TraceIndex } from './trace-index.ts';
import type { VecReader, Words } from './vec.ts';
import { HeadStrings, emptyVector } from './vectors.ts';

type RelationName = Parameters<SpanSource['relation']>[0];

/** A span apart takes about ten times what it takes among all. */
const PARTIAL_SHARE = 1 / 12;
const EVERYTHING: Selection = { traces: undefined, spans: undefined, events: undefined, links: undefined };
const text = new TextDecoder();
const utf8 = new TextEncoder();

export class HeadSource implements StoredSpans {
  readonly name: string;
  readonly traceCount: number;
  readonly spanCount: number;
  readonly partialShare = PARTIAL_SHARE;
  /** Bytes of the vectors made so far. */
  bytesRead = 0;
  readonly grownMemo?: SourceMemo;
  private readonly reader: HeadReader;
  private readonly index: TraceIndex;
  private readonly columns: HeadColumns;
  private readonly strings: HeadStrings;
  private readonly stores: Record<AttributeScope, AttributeStore>;
  private readonly keyIds = new Map<string, number>();
  private readonly relationsRead = new Set<RelationName>();
  private traceFacts: TraceFactsReader | undefined;
  /** What was asked for last. */
  private selection: Selection = EVERYTHING;

  /** @param memo of this head: what queries need of it is made once, and grows with it. */
  constructor(reader: HeadReader, name: string, memo?: SourceMemo) {
    this.reader = reader;
    this.name = name;
    if (memo !== undefined) this.grownMemo = memo;
    this.traceCount = reader.traceCount;
    this.spanCount = reader.spanCount;
    this.columns = new HeadColumns(reader, memo);
    this.index = new TraceIndex(reader, this.columns);
    this.strings = new HeadStrings(reader);
    const v = reader.vecs;
    this.stores = {
      span: {
        owner: 'span',
        starts: v.spanAttrStart,
        startsName: 'spanAttrStart',
        keys: v.spanAttrKey,
        values: v.spanAttrValue,
      },
      resource: {
        owner: 'resource',
        starts: v.resourceAttrStart,
        startsName: 'resourceAttrStart',
        keys: v.resourceAttrKey,
        values: v.resourceAttrValue,
      },
      event: {
        owner: 'event',
        starts: v.eventAttrStart,
        startsName: 'eventAttrStart',
        keys: v.eventAttrKey,
        values: v.eventAttrValue,
      },
      link: {
        owner: 'link',
        starts: v.linkAttrStart,
        startsName: 'linkAttrStart',
        keys: v.linkAttrKey,
        values: v.linkAttrValue,
      },
      instrumentation: {
        owner: 'scope',
        starts: v.scopeAttrStart,
        startsName: 'scopeAttrStart',
        keys: v.scopeAttrKey,
        values: v.scopeAttrValue,
      },
    };
  }

  async traceIds(): Promise<{ readonly ids: Uint8Array; readonly sorted: boolean }> {
    const words = this.columns.words('traceId');
    this.bytesRead += words.byteLength;
    return { ids: new Uint8Array(words.buffer, words.byteOffset, words.byteLength), sorted: false };
  }

  async traceTimes(): Promise<{ readonly startMicros: Float64Array; readonly endMicros: Float64Array }> {
    const startMicros = new Float64Array(this.traceCount);
    const endMicros = new Float64Array(this.traceCount);
    this.reader.readTraces(() => {
      toMicros(this.reader.vecs.traceStart, startMicros);
      toMicros(this.reader.vecs.traceEnd, endMicros);
    });
    this.bytesRead += 2 * startMicros.byteLength;
    return { startMicros, endMicros };
  }

  /** Of the first `count` traces those that have spans from this one on; ordinals, ascending. */
  tracesSince(span: number, count: number): Int32Array {
    const { spanTrace } = this.reader.vecs;
    const traces = new Bitset(count);
    for (let i = Math.max(0, span); i < this.spanCount; i++) {
      const trace = spanTrace.get(i);
      if (trace < count) traces.add(trace);
    }
    return traces.toArray();
  }

  async load(requests: readonly FieldRequest[], options?: LoadOptions): Promise<readonly Vector[]> {
    const selection = options?.rows === undefined ? EVERYTHING : this.select(options.rows);
    return requests.map((request) => {
      options?.signal?.throwIfAborted();
      const vector = this.vector(request, selection);
      this.bytesRead += sizeOf(vector);
      return vector;
    });
  }

  async relation(name: RelationName): Promise<Int32Array> {
    const { vecs } = this.reader;
    const relation =
      name === 'eventSpan'
        ? this.columns.owners('spanEventStart', vecs.eventTime.count)
        : name === 'linkSpan'
          ? this.columns.owners('spanLinkStart', vecs.linkTraceId.count)
          : this.columns.words(name);
    if (!this.relationsRead.has(name)) this.bytesRead += relation.byteLength;
    this.relationsRead.add(name);
    return relation;
  }

  async attributeNames(scope: AttributeScope, owners: Bitset | undefined): Promise<readonly string[]> {
    const keys = attributeKeys(this.reader, this.stores[scope], owners);
    return keys.map((key) => text.decode(this.reader.key(key).slice()));
  }

  async attributes(scope: AttributeScope, owners: Bitset): Promise<ReadonlyMap<string, Vector>> {
    const named = new Map<string, Vector>();
    for (const [key, vector] of attributeVectors(this.reader, this.stores[scope], owners, this.strings)) {
      named.set(text.decode(this.reader.key(key).slice()), vector);
      this.bytesRead += sizeOf(vector);
    }
    return named;
  }

  async distinct(field: Field): Promise<Vector> {
    const [vector] = await this.load([{ field }]);
    return vector!;
  }

  async facts(traces: Int32Array, signal?: AbortSignal): Promise<readonly TraceFacts[]> {
    this.traceFacts ??= new TraceFactsReader(this.reader, this.columns, this.index);
    return this.traceFacts.read(traces, signal);
  }

  async trace(id: Uint8Array): Promise<Uint8Array | undefined> {
    const trace = this.reader.findTrace(id);
    if (trace < 0) return undefined;
    const bytes = encodeTrace(this.reader, this.index.spansOf(trace));
    this.bytesRead += bytes.length;
    return bytes;
  }

  async traces(traces: Int32Array): Promise<Uint8Array> {
    const bytes = encodeTrace(this.reader, this.index.spansOfAll(traces));
    this.bytesRead += bytes.length;
    return bytes;
  }

  async newestStart(): Promise<number> {
    const { startMicros } = await this.traceTimes();
    let newest = -Infinity;
    for (let i = 0; i < startMicros.length; i++) newest = Math.max(newest, startMicros[i]! + 1);
    return newest;
  }

  mayHaveIds(): boolean {
    return this.traceCount > 0;
  }

  async spanDigests(traces: Int32Array, signal?: AbortSignal): Promise<Int32Array> {
    const { vecs } = this.reader;
    const { spanId } = vecs;
    const digests = new Int32Array(traces.length * DIGEST_WORDS);
    for (let i = 0; i < traces.length; i++) {
      signal?.throwIfAborted();
      for (const span of this.index.spansOf(traces[i]!)) {
        const kind = kindOrStatus(vecs, span, KIND);
        addToDigest(digests, i * DIGEST_WORDS, spanId.get(span, 0), spanId.get(span, 1), kind);
      }
    }
    return digests;
  }

  private vector(request: FieldRequest, selection: Selection): Vector {
    const { field, equals } = request;
    if (field.kind === 'intrinsic') {
      return intrinsicVector(this.reader, field.name, selection, this.index, this.columns, this.strings);
    }
    const store = this.stores[field.scope];
    if (store.keys.count === 0) return emptyVector(store.owner);
    const owners =
      field.scope === 'span'
        ? selection.spans
        : field.scope === 'event'
          ? selection.events
          : field.scope === 'link'
            ? selection.links
            : undefined;
    const strings = equals === undefined ? undefined : this.idsOf(equals);
    return attributeVector(
      this.reader,
      store,
      { key: this.keyId(field.name), strings, owners },
      this.columns,
      this.strings,
    );
  }

  private keyId(name: string): number {
    let id = this.keyIds.get(name);
    if (id === undefined) this.keyIds.set(name, (id = this.reader.findKey(utf8.encode(name))));
    return id;
  }

  private idsOf(wanted: readonly Uint8Array[]): ReadonlySet<number> {
    const ids = new Set<number>();
    for (const bytes of wanted) {
      const id = this.columns.findString(bytes);
      if (id >= 0) ids.add(id);
    }
    return ids;
  }

  /** Vectors of the same traces are asked for one after another. */
  private select(traces: Int32Array): Selection {
    if (this.selection.traces !== traces) {
      this.selection = new PartialSelection(this.reader, traces, this.index.spansOfAll(traces));
    }
    return this.selection;
  }
}

/** Some traces; what belongs to their spans is found when it is wanted. */
class PartialSelection implements Selection {
  readonly traces: Int32Array;
  readonly spans: Int32Array;
  private readonly reader: HeadReader;
  private ownEvents: Int32Array | undefined;
  private ownLinks: Int32Array | undefined;

  constructor(reader: HeadReader, traces: Int32Array, spans: Int32Array) {
    this.reader = reader;
    this.traces = traces;
    this.spans = spans;
  }

  get events(): Int32Array {
    const { spanEventStart, eventTime } = this.reader.vecs;
    return (this.ownEvents ??= ownedBy(this.spans, spanEventStart, eventTime.count));
  }

  get links(): Int32Array {
    const { spanLinkStart, linkTraceId } = this.reader.vecs;
    return (this.ownLinks ??= ownedBy(this.spans, spanLinkStart, linkTraceId.count));
  }
}

function sizeOf(vector: Vector): number {
  return (vector.str?.byteLength ?? 0) + (vector.num?.byteLength ?? 0) + (vector.owners?.byteLength ?? 0);
}

function toMicros(vec: VecReader, out: Float64Array): void {
  vec.forEachChunk((words, first, count) => wordsToMicros(words, count, out, first));
}

function wordsToMicros(words: Words, count: number, out: Float64Array, at: number): void {
  for (let i = 0; i < count; i++) {
    out[at + i] = Math.floor((words[2 * i + 1]! >>> 0) * 4294967.296 + (words[2 * i]! >>> 0) / 1000);
  }
}

/** The elements that some owners (ascending) have. */
function ownedBy(owners: Int32Array, starts: VecReader, count: number): Int32Array {
  const owned: number[] = [];
  for (const owner of owners) {
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : count;
    for (let i = starts.get(owner); i < end; i++) owned.push(i);
  }
  return Int32Array.from(owned);
}
