// One query's view of one source: loads vectors once, keeps the owner relations, and turns sets of owners
// into sets of spans.
import { Bitset } from '../../lib/bitset.ts';
import {
  type Field,
  type FieldRequest,
  type Owner,
  type SpanSource,
  type Vector,
  fieldKey,
} from '../source.ts';
import { TextPool } from './text-pool.ts';

export type RelationName = Parameters<SpanSource['relation']>[0];

/** The relation from spans to owners above them. */
export const UP: Partial<Record<Owner, RelationName>> = {
  trace: 'spanTrace',
  resource: 'spanResource',
  scope: 'spanScope',
};
/** Loading a part of the traces pays below this share of all, where the source does not say another. */
const PARTIAL_SHARE = 1 / 64;

/** Trace ordinals (ascending) that a load is restricted to. */
export interface Rows {
  readonly key: number;
  readonly ids: Int32Array;
}

/** Which values of a field are wanted; others may be left out. */
export type Restriction = Omit<FieldRequest, 'field'>;

const EVERYTHING: Restriction = {};

function restrictionKey({ equals, types }: Restriction): string {
  const literals = equals === undefined ? '' : equals.map((bytes) => `=${bytes.join()}`).join('');
  return types === undefined ? literals : `${literals}:${types.join()}`;
}

export class Scan {
  readonly source: SpanSource;
  readonly signal: AbortSignal | undefined;
  /** Traces that may be in the answer; undefined = all. */
  readonly traces: Bitset | undefined;
  readonly texts: TextPool;
  private readonly vectors = new Map<string, Promise<Vector>>();
  private readonly relations = new Map<string, Promise<Int32Array>>();
  private readonly partialShare: number;
  private rowsMade = 0;

  constructor(source: SpanSource, traces: Bitset | undefined, signal: AbortSignal | undefined) {
    this.source = source;
    this.partialShare = source.partialShare ?? PARTIAL_SHARE;
    this.traces = traces;
    this.signal = signal;
    this.texts = new TextPool(signal);
  }

  /** What is loaded already for all traces is taken first, then what is for these. */
  vector(field: Field, rows?: Rows, restriction: Restriction = EVERYTHING): Promise<Vector> {
    const name = fieldKey(field);
    const limits = restrictionKey(restriction);
    const key = `${rows?.key ?? ''}|${limits}|${name}`;
    let vector =
      this.vectors.get(`||${name}`) ?? this.vectors.get(`|${limits}|${name}`) ?? this.vectors.get(key);
    if (!vector) {
      vector = this.load({ field, ...restriction }, rows);
      this.vectors.set(key, vector);
    }
    return vector;
  }

  private async load(request: FieldRequest, rows: Rows | undefined): Promise<Vector> {
    const [vector] = await this.source.load([request], this.options(rows));
    this.signal?.throwIfAborted();
    return vector!;
  }

  private options(rows: Rows | undefined): { rows?: Int32Array; signal?: AbortSignal } {
    return {
      ...(rows === undefined ? {} : { rows: rows.ids }),
      ...(this.signal === undefined ? {} : { signal: this.signal }),
    };
  }

  relation(name: RelationName): Promise<Int32Array> {
    let relation = this.relations.get(name);
    if (!relation) {
      relation = this.source.relation(name, this.options(undefined));
      this.relations.set(name, relation);
    }
    return relation;
  }

  /** Number of spans; where the source cannot tell yet, its relation to traces is loaded. */
  async spanCount(): Promise<number> {
    const { spanCount } = this.source;
    return spanCount > 0 ? spanCount : (await this.relation('spanTrace')).length;
  }

  /** The traces of a small set of spans, to load further vectors for them only; undefined = all. */
  async rowsOf(spans: Bitset | undefined): Promise<Rows | undefined> {
    if (spans === undefined) return undefined;
    if (spans.count() > spans.size * this.partialShare) return undefined;
    const traces = await this.tracesOf(spans);
    return this.rowsOfTraces(traces.toArray());
  }

  /** @param ids ascending. */
  rowsOfTraces(ids: Int32Array): Rows | undefined {
    if (ids.length > this.source.traceCount * this.partialShare) return undefined;
    return { key: ++this.rowsMade, ids };
  }

  async tracesOf(spans: Bitset): Promise<Bitset> {
    return new Bitset(this.source.traceCount).addTargets(spans, await this.relation('spanTrace'));
  }

  /** Keeps the spans whose trace is in `traces`. Changes the set. */
  async keepTraces(spans: Bitset, traces: Bitset): Promise<Bitset> {
    return spans.keepSources(traces, await this.relation('spanTrace'));
  }

  /** The spans that point at one of `owners`, or that own one of them. */
  async spansOf(owners: Bitset, owner: Owner, within: Bitset | undefined): Promise<Bitset> {
    const spanCount = await this.spanCount();
    if (owner === 'span') return new Bitset(spanCount).or(owners);
    if (owners.isEmpty()) return new Bitset(spanCount);
    const up = UP[owner];
    if (up === undefined) {
      const relation = await this.relation(owner === 'event' ? 'eventSpan' : 'linkSpan');
      return new Bitset(spanCount).addTargets(owners, relation);
    }
    const spans = within === undefined ? Bitset.full(spanCount) : within.clone();
    return spans.keepSources(owners, await this.relation(up));
  }
}
