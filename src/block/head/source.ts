// A head as the query engine sees it: a snapshot whose vectors are made when a query asks for them.
import { Bitset } from '../../lib/bitset.ts';
import type {
  AttributeScope,
  Field,
  FieldRequest,
  LoadOptions,
  ServiceStats,
  SpanSource,
  TraceFacts,
  Vector,
} from '../../traceql/source.ts';
import { addToDigest, DIGEST_WORDS, type StoredSpans } from '../stored-spans.ts';
import { attributeKeys } from './attribute-keys.ts';
import { type AttributeStore, attributeVector, attributeVectors } from './attribute-vector.ts';
import { type Selection, intrinsicVector } from './intrinsic-vector.ts';
import { KIND, kindOrStatus } from './kind-status.ts';
import type { HeadReader } from './reader.ts';
import { encodeTrace } from './trace-encoder.ts';
import { TraceIndex } from './trace-index.ts';
import type { VecReader } from './vec.ts';
import { HeadStrings, emptyVector, wordsToBigint } from './vectors.ts';

type RelationName = Parameters<SpanSource['relation']>[0];

const STATUS_ERROR = 2;
/** A span apart takes about ten times what it takes among all. */
const PARTIAL_SHARE = 1 / 12;
/** Texts that are made once. */
const TEXTS_MAX = 4096;
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
  private readonly reader: HeadReader;
  private readonly index: TraceIndex;
  private readonly strings: HeadStrings;
  private readonly stores: Record<AttributeScope, AttributeStore>;
  private readonly keyIds = new Map<string, number>();
  private readonly stringIds = new Map<string, number>();
  private readonly relations = new Map<RelationName, Int32Array>();
  /** Of services and root spans, by id. */
  private readonly texts = new Map<number, string>();
  /** What was asked for last. */
  private selection: Selection = EVERYTHING;

  constructor(reader: HeadReader, name: string) {
    this.reader = reader;
    this.name = name;
    this.traceCount = reader.traceCount;
    this.spanCount = reader.spanCount;
    this.index = new TraceIndex(reader);
    this.strings = new HeadStrings(reader);
    const v = reader.vecs;
    this.stores = {
      span: { owner: 'span', starts: v.spanAttrStart, keys: v.spanAttrKey, values: v.spanAttrValue },
      resource: {
        owner: 'resource',
        starts: v.resourceAttrStart,
        keys: v.resourceAttrKey,
        values: v.resourceAttrValue,
      },
      event: { owner: 'event', starts: v.eventAttrStart, keys: v.eventAttrKey, values: v.eventAttrValue },
      link: { owner: 'link', starts: v.linkAttrStart, keys: v.linkAttrKey, values: v.linkAttrValue },
      instrumentation: {
        owner: 'scope',
        starts: v.scopeAttrStart,
        keys: v.scopeAttrKey,
        values: v.scopeAttrValue,
      },
    };
  }

  async traceIds(): Promise<{ readonly ids: Uint8Array; readonly sorted: boolean }> {
    const words = this.reader.vecs.traceId.toArray();
    this.bytesRead += words.byteLength;
    return { ids: new Uint8Array(words.buffer), sorted: false };
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
    let relation = this.relations.get(name);
    if (relation === undefined) {
      const { vecs } = this.reader;
      if (name === 'eventSpan') relation = ownersOf(vecs.spanEventStart, vecs.eventTime.count);
      else if (name === 'linkSpan') relation = ownersOf(vecs.spanLinkStart, vecs.linkTraceId.count);
      else relation = vecs[name].toArray();
      this.relations.set(name, relation);
      this.bytesRead += relation.byteLength;
    }
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
    return Array.from(traces, (trace) => {
      signal?.throwIfAborted();
      return this.factsOf(trace);
    });
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
    return startMicros.reduce((newest, start) => Math.max(newest, start + 1), -Infinity);
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
      return intrinsicVector(this.reader, field.name, selection, this.index, this.strings);
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
      const key = String.fromCharCode(...bytes.subarray(0, 1000)); // as a key only: bytes to code units
      let id = bytes.length > 1000 ? undefined : this.stringIds.get(key);
      if (id === undefined) {
        id = this.reader.findString(bytes);
        if (bytes.length <= 1000) this.stringIds.set(key, id);
      }
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

  private factsOf(trace: number): TraceFacts {
    const { reader } = this;
    const { spanResource, spanName, resourceService } = reader.vecs;
    const spans = this.index.spansOf(trace);
    const { startUnixNano, endUnixNano } = this.timesOf(spans);
    const root = this.index.rootOf(spans);
    return {
      id: reader.traceId(trace),
      rootService: root < 0 ? '' : this.string(resourceService.get(spanResource.get(root))),
      rootName: root < 0 ? '' : this.string(spanName.get(root)),
      hasRoot: root >= 0,
      startUnixNano,
      endUnixNano,
      services: this.servicesOf(spans),
    };
  }

  /** The first start and the last end, compared by their words. */
  private timesOf(spans: Int32Array): { readonly startUnixNano: bigint; readonly endUnixNano: bigint } {
    const { spanStart, spanDuration } = this.reader.vecs;
    let startLow = 0xffff_ffff;
    let startHigh = 0xffff_ffff;
    let endLow = 0;
    let endHigh = 0;
    for (let i = 0; i < spans.length; i++) {
      const span = spans[i]!;
      const low = spanStart.get(span, 0) >>> 0;
      const high = spanStart.get(span, 1) >>> 0;
      if (high < startHigh || (high === startHigh && low < startLow)) {
        startLow = low;
        startHigh = high;
      }
      const sum = low + (spanDuration.get(span, 0) >>> 0);
      const toHigh = (high + (spanDuration.get(span, 1) >>> 0) + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
      const toLow = sum >>> 0;
      if (toHigh > endHigh || (toHigh === endHigh && toLow > endLow)) {
        endLow = toLow;
        endHigh = toHigh;
      }
    }
    return { startUnixNano: wordsToBigint(startLow, startHigh), endUnixNano: wordsToBigint(endLow, endHigh) };
  }

  /** In the order of their first spans. */
  private servicesOf(spans: Int32Array): ServiceStats[] {
    const { spanResource, spanKindStatus, resourceService } = this.reader.vecs;
    const placeOf = new Map<number, number>();
    const services: { service: string; spanCount: number; errorCount: number }[] = [];
    for (let i = 0; i < spans.length; i++) {
      const span = spans[i]!;
      const id = Math.max(0, resourceService.get(spanResource.get(span))); // without one it is ""
      let at = placeOf.get(id);
      if (at === undefined) {
        at = placeOf.size;
        placeOf.set(id, at);
        services.push({ service: this.string(id), spanCount: 0, errorCount: 0 });
      }
      const stats = services[at]!;
      stats.spanCount++;
      if (spanKindStatus.get(span) >>> 4 === STATUS_ERROR) stats.errorCount++;
    }
    return services;
  }

  private string(id: number): string {
    if (id < 0) return '';
    let string = this.texts.get(id);
    if (string === undefined) {
      // A copy: TextDecoder takes no shared memory.
      string = text.decode(this.reader.str(id).slice());
      if (this.texts.size < TEXTS_MAX) this.texts.set(id, string);
    }
    return string;
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
  vec.forEachChunk((words, first, count) => {
    for (let i = 0; i < count; i++) {
      out[first + i] = Math.floor((words[2 * i + 1]! >>> 0) * 4294967.296 + (words[2 * i]! >>> 0) / 1000);
    }
  });
}

/** For each owned element the owner that it belongs to. */
function ownersOf(starts: VecReader, count: number): Int32Array {
  const owners = new Int32Array(count);
  if (count === 0) return owners;
  for (let owner = 0; owner < starts.count; owner++) {
    const end = owner + 1 < starts.count ? starts.get(owner + 1) : count;
    for (let i = starts.get(owner); i < end; i++) owners[i] = owner;
  }
  return owners;
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
