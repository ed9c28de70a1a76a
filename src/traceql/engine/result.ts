// Turns the chosen traces and their matched spans into Tempo's TraceSearchMetadata as JSON text.
// Everything here is loaded for these traces only.
import { SPAN_ID_BYTES } from '../../model/ids.ts';
import type { ServiceStats, TraceFacts, Vector } from '../source.ts';
import { compareSpans, earliestSpans } from './earliest.ts';
import { jsonAnyValue, jsonAnyValues, jsonAttribute, traceIdText } from './json.ts';
import { JsonWriter } from './json-writer.ts';
import type { NestedOwners } from './nested-conditions.ts';
import type { Rows, Scan } from './scan.ts';
import type { ShownSpanset } from './spansets.ts';
import { LoadedField, type ShownField } from './shown-field.ts';
import { bytesAt, firstEntry, integerAt } from './value-reader.ts';

const NO_ROOT = '<root span not yet received>';
const NANOS_PER_MILLI = 1_000_000n;
const BILLION = 1_000_000_000n;
/** Never returned as attributes of a span: they have places of their own, or Tempo leaves them out. */
const HIDDEN: ReadonlySet<string> = new Set([
  'span:name',
  'span:duration',
  'span:id',
  'trace:duration',
  'trace:rootName',
  'trace:rootService',
  'trace:id',
]);

export interface ResultOptions {
  /** Traces that are shown. */
  readonly rows: Rows | undefined;
  /** Events and links whose values are shown before those of others. */
  readonly joined: NestedOwners;
  /** 0 = all. */
  readonly spansPerSet: number;
}

export class ResultWriter {
  private readonly fields: readonly LoadedField[];
  private readonly columns: SpanColumns;
  private readonly spansPerSet: number;
  private readonly starts: Decimals;
  private readonly durations: Decimals;
  private readonly out = new JsonWriter();

  private constructor(fields: readonly LoadedField[], columns: SpanColumns, spansPerSet: number) {
    this.fields = fields;
    this.columns = columns;
    this.spansPerSet = spansPerSet;
    this.starts = new Decimals(columns.start);
    this.durations = new Decimals(columns.duration);
  }

  /** Loads what is shown of the spans of these traces. */
  static async load(
    scan: Scan,
    shown: readonly ShownField[],
    { rows, joined, spansPerSet }: ResultOptions,
  ): Promise<ResultWriter> {
    const name = shown.find(({ ref }) => ref.kind === 'intrinsic' && ref.name === 'span:name');
    const columns = await loadColumns(scan, name, rows);
    const fields: LoadedField[] = [];
    for (const field of shown) {
      if (field.ref.kind === 'intrinsic' && HIDDEN.has(field.ref.name)) continue;
      fields.push(await LoadedField.load(scan, field, rows, joined));
    }
    return new ResultWriter(fields, columns, spansPerSet);
  }

  trace(facts: TraceFacts, spansets: readonly ShownSpanset[]): Uint8Array {
    const { out } = this;
    out.begin();
    const duration = (facts.endUnixNano - facts.startUnixNano) / NANOS_PER_MILLI;
    out.raw(`{"traceID":"${traceIdText(facts.id)}"`);
    // a root of a service without a name is none to Tempo, whose blocks do not tell these apart
    const service = facts.rootService === '' ? NO_ROOT : facts.rootService;
    this.member(',"rootServiceName":', service);
    if (facts.hasRoot && facts.rootName !== '') this.member(',"rootTraceName":', facts.rootName);
    if (facts.startUnixNano !== 0n) out.raw(`,"startTimeUnixNano":"${facts.startUnixNano}"`);
    if (duration > 0n) out.raw(`,"durationMs":${BigInt.asUintN(32, duration)}`);
    this.spansets(spansets);
    this.serviceStats(facts.services);
    out.raw('}');
    return out.end();
  }

  private member(key: string, text: string): void {
    this.out.raw(key);
    this.out.string(text);
  }

  /** The first spanset has a place of its own and is the first of the list too. */
  private spansets(unordered: readonly ShownSpanset[]): void {
    const { out } = this;
    const spansets = unordered.length === 1 ? unordered : this.byEarliest(unordered);
    out.raw(',"spanSet":');
    const from = out.position;
    this.spanset(spansets[0]!);
    const to = out.position;
    out.raw(',"spanSets":[');
    out.repeat(from, to);
    for (let i = 1; i < spansets.length; i++) {
      out.raw(',');
      this.spanset(spansets[i]!);
    }
    out.raw(']');
  }

  /** Those that begin first come first: in which order spans are stored does not matter. */
  private byEarliest(spansets: readonly ShownSpanset[]): readonly ShownSpanset[] {
    const { start, id } = this.columns;
    return spansets
      .map((spanset) => ({ spanset, first: earliestSpans(spanset.spans, 1, start, id)[0]! }))
      .sort((a, b) => compareSpans(a.first, b.first, start, id))
      .map(({ spanset }) => spanset);
  }

  private serviceStats(services: readonly ServiceStats[]): void {
    const { out } = this;
    if (services.length === 0) return;
    const ordered = services.length === 1 ? services : [...services].sort(byService);
    out.raw(',"serviceStats":{');
    for (let i = 0; i < ordered.length; i++) {
      const { service, spanCount, errorCount } = ordered[i]!;
      if (i > 0) out.raw(',');
      out.string(service);
      out.raw(':{"spanCount":');
      out.decimal(0, spanCount);
      if (errorCount > 0) {
        out.raw(',"errorCount":');
        out.decimal(0, errorCount);
      }
      out.raw('}');
    }
    out.raw('}');
  }

  private spanset(spanset: ShownSpanset): void {
    const { out, columns } = this;
    const { spans } = spanset;
    const limit = this.spansPerSet === 0 ? spans.length : this.spansPerSet;
    const shown = earliestSpans(spans, limit, columns.start, columns.id);
    out.raw('{"spans":[');
    for (let i = 0; i < shown.length; i++) {
      if (i > 0) out.raw(',');
      this.span(shown[i]!);
    }
    out.raw(`],"matched":${spans.length}`);
    if (spanset.attributes.length > 0) {
      const attributes = spanset.attributes.map(({ key, value }) =>
        jsonAttribute(key, 'type' in value ? jsonAnyValue(value) : jsonAnyValues(value)),
      );
      out.raw(`,"attributes":[${attributes.join()}]`);
    }
    out.raw('}');
  }

  private span(span: number): void {
    const { out } = this;
    const { id, name, start, duration } = this.columns;
    out.raw('{"spanID":"');
    out.hex(bytesAt(id, firstEntry(id, span)), SPAN_ID_BYTES);
    const text = name === undefined ? '' : name.text(span);
    if (text === '') out.raw('","startTimeUnixNano":"');
    else {
      this.member('","name":', text);
      out.raw(',"startTimeUnixNano":"');
    }
    this.starts.write(out, firstEntry(start, span));
    const at = firstEntry(duration, span);
    if (this.durations.isZero(at)) out.raw('"');
    else {
      out.raw('","durationNanos":"');
      this.durations.write(out, at);
      out.raw('"');
    }
    let attributes = '';
    for (const field of this.fields) attributes = field.append(attributes, span);
    if (attributes !== '') {
      out.raw(',"attributes":[');
      out.raw(attributes);
      out.raw(']');
    }
    out.raw('}');
  }
}

/** Writes 64-bit numbers of a vector in decimal; where doubles suffice no bigint is made. */
class Decimals {
  private readonly vector: Vector;
  /** Of the base; -1 when only bigints will do. */
  private readonly billions: number;
  private readonly rest: number;

  constructor(vector: Vector) {
    const { base, exact, num } = vector;
    const isPlain = exact === undefined && num !== undefined && base >= 0n;
    this.vector = vector;
    this.billions = isPlain ? Number(base / BILLION) : -1;
    this.rest = Number(base % BILLION);
  }

  isZero(entry: number): boolean {
    return integerAt(this.vector, entry) === 0n;
  }

  write(out: JsonWriter, entry: number): void {
    const { vector, billions } = this;
    let high = billions;
    let low = high < 0 ? -1 : this.rest + vector.num![entry]!;
    if (low < 0 && high > 0) {
      const borrowed = Math.min(high, Math.ceil(-low / 1e9));
      high -= borrowed;
      low += borrowed * 1e9;
    }
    if (low >= 0) out.decimal(high, low);
    else out.raw(String(BigInt.asUintN(64, integerAt(vector, entry))));
  }
}

interface SpanColumns {
  readonly id: Vector;
  readonly name: LoadedField | undefined;
  readonly start: Vector;
  readonly duration: Vector;
}

async function loadColumns(
  scan: Scan,
  name: ShownField | undefined,
  rows: Rows | undefined,
): Promise<SpanColumns> {
  return {
    id: await scan.vector({ kind: 'intrinsic', name: 'span:id' }, rows),
    name: name && (await LoadedField.load(scan, name, rows)),
    start: await scan.vector({ kind: 'intrinsic', name: 'span:start' }, rows),
    duration: await scan.vector({ kind: 'intrinsic', name: 'span:duration' }, rows),
  };
}

/** Sources know services in the order in which spans came: the answer does not depend on it. */
function byService(a: ServiceStats, b: ServiceStats): number {
  return a.service < b.service ? -1 : 1;
}
