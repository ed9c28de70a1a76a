// A source that notes what a query reads of it. It stands in front of another one while a query is explained;
// other queries know nothing of it.
import type { Bitset } from '../../lib/bitset.ts';
import {
  type AttributeScope,
  type Field,
  fieldKey,
  type FieldRequest,
  type LoadOptions,
  type SpanSource,
  type TraceFacts,
  ValueType,
  type Vector,
} from '../source.ts';

/** One thing that was read. */
export interface ReadStep {
  /** A field by its name, or what else: ids, times, facts and relations. */
  readonly what: string;
  /** Which of its values were wanted; empty = all. */
  readonly only: string;
  /** Of so many traces; undefined = all. */
  readonly traces: number | undefined;
  /** Values that came. */
  readonly values: number;
  readonly bytes: number;
  readonly ms: number;
}

const TYPE_NAMES = new Map<number, string>(Object.entries(ValueType).map(([name, type]) => [type, name]));
/** Literals are shown up to so many, and so many characters of each. */
const LITERALS_MAX = 5;
const LITERAL_LENGTH_MAX = 40;

const utf8 = new TextDecoder();

export class ExplainedSource implements SpanSource {
  readonly steps: ReadStep[] = [];
  private readonly source: SpanSource;

  constructor(source: SpanSource) {
    this.source = source;
  }

  get name(): string {
    return this.source.name;
  }

  get traceCount(): number {
    return this.source.traceCount;
  }

  get spanCount(): number {
    return this.source.spanCount;
  }

  get bytesRead(): number {
    return this.source.bytesRead;
  }

  traceIds(signal?: AbortSignal): ReturnType<SpanSource['traceIds']> {
    const count = ({ ids }: Awaited<ReturnType<SpanSource['traceIds']>>): number => ids.length / 16;
    return this.noted({ what: 'trace ids' }, () => this.source.traceIds(signal), count);
  }

  traceTimes(signal?: AbortSignal): ReturnType<SpanSource['traceTimes']> {
    const read = () => this.source.traceTimes(signal);
    return this.noted({ what: 'times of traces' }, read, ({ startMicros }) => startMicros.length);
  }

  async load(requests: readonly FieldRequest[], options?: LoadOptions): Promise<readonly Vector[]> {
    const vectors: Vector[] = [];
    for (const request of requests) {
      const about = { what: fieldKey(request.field), only: onlyOf(request), traces: options?.rows?.length };
      const read = async () => (await this.source.load([request], options))[0]!;
      vectors.push(await this.noted(about, read, ({ count }) => count));
    }
    return vectors;
  }

  relation(name: Parameters<SpanSource['relation']>[0], options?: LoadOptions): Promise<Int32Array> {
    const read = () => this.source.relation(name, options);
    return this.noted({ what: `relation ${name}`, traces: options?.rows?.length }, read, (of) => of.length);
  }

  attributeNames(
    scope: AttributeScope,
    owners: Bitset | undefined,
    signal?: AbortSignal,
  ): Promise<readonly string[]> {
    const read = () => this.source.attributeNames(scope, owners, signal);
    return this.noted({ what: `names of ${scope}` }, read, (names) => names.length);
  }

  attributes(
    scope: AttributeScope,
    owners: Bitset,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, Vector>> {
    const read = () => this.source.attributes(scope, owners, signal);
    const countOf = (vectors: ReadonlyMap<string, Vector>): number =>
      [...vectors.values()].reduce((sum, { count }) => sum + count, 0);
    return this.noted({ what: `attributes of ${scope}` }, read, countOf);
  }

  distinct(field: Field, signal?: AbortSignal): Promise<Vector> {
    const read = () => this.source.distinct(field, signal);
    return this.noted({ what: fieldKey(field), only: 'each value once' }, read, ({ count }) => count);
  }

  facts(traces: Int32Array, signal?: AbortSignal): Promise<readonly TraceFacts[]> {
    const read = () => this.source.facts(traces, signal);
    return this.noted({ what: 'facts of traces', traces: traces.length }, read, (facts) => facts.length);
  }

  private async noted<Result>(
    about: { readonly what: string; readonly only?: string; readonly traces?: number | undefined },
    read: () => Promise<Result>,
    countOf: (result: Result) => number,
  ): Promise<Result> {
    const beginMs = performance.now();
    const beginBytes = this.source.bytesRead;
    const result = await read();
    const { what, only = '', traces } = about;
    const bytes = this.source.bytesRead - beginBytes;
    const ms = performance.now() - beginMs;
    this.steps.push({ what, only, traces, values: countOf(result), bytes, ms });
    return result;
  }
}

function onlyOf({ equals, types }: FieldRequest): string {
  const parts: string[] = [];
  if (types !== undefined) parts.push(types.map((type) => TYPE_NAMES.get(type)).join(' or '));
  if (equals !== undefined) {
    const shown = equals.slice(0, LITERALS_MAX).map((bytes) => JSON.stringify(shortText(bytes)));
    if (equals.length > LITERALS_MAX) shown.push(`${equals.length - LITERALS_MAX} more`);
    parts.push(`= ${shown.join(', ')}`);
  }
  return parts.join(' ');
}

function shortText(bytes: Uint8Array): string {
  const text = utf8.decode(bytes);
  return text.length > LITERAL_LENGTH_MAX ? `${text.slice(0, LITERAL_LENGTH_MAX)}...` : text;
}
