// Turns the chosen traces and their matched spans into Tempo's TraceSearchMetadata as JSON text.
// Everything here is loaded for these traces only.
import type { TraceFacts, Vector } from '../source.ts';
import { earliestSpans } from './earliest.ts';
import { idText, jsonAnyValue, jsonAttribute, jsonString, traceIdText } from './json.ts';
import type { Rows, Scan } from './scan.ts';
import type { ShownSpanset } from './spansets.ts';
import { LoadedField, type ShownField } from './shown-field.ts';
import { bytesAt, firstEntry, integerAt } from './value-reader.ts';

const NO_ROOT = '<root span not yet received>';
const NANOS_PER_MILLI = 1_000_000n;
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

export class ResultWriter {
  private readonly fields: readonly LoadedField[];
  private readonly columns: SpanColumns;
  private readonly spansPerSet: number;

  private constructor(fields: readonly LoadedField[], columns: SpanColumns, spansPerSet: number) {
    this.fields = fields;
    this.columns = columns;
    this.spansPerSet = spansPerSet;
  }

  /** Loads what is shown of the spans of these traces. `spansPerSet` 0 = all. */
  static async load(
    scan: Scan,
    shown: readonly ShownField[],
    rows: Rows | undefined,
    spansPerSet: number,
  ): Promise<ResultWriter> {
    const name = shown.find(({ ref }) => ref.kind === 'intrinsic' && ref.name === 'span:name');
    const columns = await loadColumns(scan, name, rows);
    const fields: LoadedField[] = [];
    for (const field of shown) {
      if (field.ref.kind === 'intrinsic' && HIDDEN.has(field.ref.name)) continue;
      fields.push(await LoadedField.load(scan, field, rows));
    }
    return new ResultWriter(fields, columns, spansPerSet);
  }

  trace(facts: TraceFacts, spansets: readonly ShownSpanset[]): string {
    const sets = spansets.map((spanset) => this.spanset(spanset));
    const duration = (facts.endUnixNano - facts.startUnixNano) / NANOS_PER_MILLI;
    let json = `{"traceID":"${traceIdText(facts.id)}"`;
    const service = facts.hasRoot ? facts.rootService : NO_ROOT;
    if (service !== '') json += `,"rootServiceName":${jsonString(service)}`;
    if (facts.hasRoot && facts.rootName !== '') json += `,"rootTraceName":${jsonString(facts.rootName)}`;
    if (facts.startUnixNano !== 0n) json += `,"startTimeUnixNano":"${facts.startUnixNano}"`;
    if (duration > 0n) json += `,"durationMs":${BigInt.asUintN(32, duration)}`;
    json += `,"spanSet":${sets[0]},"spanSets":[${sets.join()}]`;
    if (facts.services.length > 0) {
      const stats = facts.services.map(({ service: name, spanCount, errorCount }) => {
        const errors = errorCount > 0 ? `,"errorCount":${errorCount}` : '';
        return `${jsonString(name)}:{"spanCount":${spanCount}${errors}}`;
      });
      json += `,"serviceStats":{${stats.join()}}`;
    }
    return `${json}}`;
  }

  private spanset(spanset: ShownSpanset): string {
    const { spans } = spanset;
    const { start, id } = this.columns;
    const shown = earliestSpans(spans, this.spansPerSet === 0 ? spans.length : this.spansPerSet, start, id);
    let json = '{"spans":[';
    for (let i = 0; i < shown.length; i++) json += (i === 0 ? '' : ',') + this.span(shown[i]!);
    json += `],"matched":${spans.length}`;
    if (spanset.attributes.length > 0) {
      const attributes = spanset.attributes.map(({ key, value }) => jsonAttribute(key, jsonAnyValue(value)));
      json += `,"attributes":[${attributes.join()}]`;
    }
    return `${json}}`;
  }

  private span(span: number): string {
    const { id, name, start, duration } = this.columns;
    let json = `{"spanID":"${idText(bytesAt(id, firstEntry(id, span)))}"`;
    const text = name === undefined ? '' : name.text(span);
    if (text !== '') json += `,"name":${jsonString(text)}`;
    json += `,"startTimeUnixNano":"${integerAt(start, firstEntry(start, span))}"`;
    const nanos = integerAt(duration, firstEntry(duration, span));
    if (nanos !== 0n) json += `,"durationNanos":"${BigInt.asUintN(64, nanos)}"`;
    let attributes = '';
    for (const field of this.fields) attributes = field.append(attributes, span);
    return attributes === '' ? `${json}}` : `${json},"attributes":[${attributes}]}`;
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
