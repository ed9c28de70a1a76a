// What a search shows of whole traces of a head: when they begin and end, their roots and services.
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import type { ServiceStats, TraceFacts } from '../../traceql/source.ts';
import type { HeadColumns } from './head-columns.ts';
import type { HeadReader } from './reader.ts';
import type { TraceColumns } from './trace-columns.ts';
import type { TraceIndex } from './trace-index.ts';
import { wordsToBigint } from './vectors.ts';

const STATUS_ERROR = 2;
/** Texts that are made once. */
const TEXTS_MAX = 4096;
const text = new TextDecoder();
const NO_STATS = { service: '', spanCount: 0, errorCount: 0 };

/** What is read of spans, by their ordinals. */
interface Spans {
  readonly resources: Int32Array;
  readonly kindStatus: Uint8Array;
  /** By resource the string of its service, 0 = none. */
  readonly services: Int32Array;
}

export class TraceFactsReader {
  private readonly reader: HeadReader;
  private readonly columns: HeadColumns;
  private readonly index: TraceIndex;
  /** Of services and root spans, by id. */
  private readonly texts = new Map<number, string>();
  /** The spans of one trace. */
  private members = new Int32Array(256);

  constructor(reader: HeadReader, columns: HeadColumns, index: TraceIndex) {
    this.reader = reader;
    this.columns = columns;
    this.index = index;
  }

  read(traces: Int32Array, signal: AbortSignal | undefined): TraceFacts[] {
    const { columns } = this;
    const known = this.index.traces;
    const services = columns.words('resourceService').map((id) => Math.max(0, id)); // without one it is ""
    const spans: Spans = {
      resources: columns.words('spanResource'),
      kindStatus: columns.packedKindStatus(),
      services,
    };
    const words = columns.words('traceId');
    const ids = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    return Array.from(traces, (trace) => {
      signal?.throwIfAborted();
      return this.factsOf(
        trace,
        known,
        spans,
        ids.subarray(trace * TRACE_ID_BYTES, (trace + 1) * TRACE_ID_BYTES),
      );
    });
  }

  private factsOf(
    trace: number,
    { roots, starts, ends, sizes }: TraceColumns,
    spans: Spans,
    id: Uint8Array,
  ): TraceFacts {
    const root = roots[trace]!;
    return {
      id,
      rootService: root < 0 ? '' : this.string(spans.services[spans.resources[root]!]!),
      rootName: root < 0 ? '' : this.string(this.reader.vecs.spanName.get(root)),
      hasRoot: root >= 0,
      startUnixNano: wordsToBigint(starts[2 * trace]!, starts[2 * trace + 1]!),
      endUnixNano: wordsToBigint(ends[2 * trace]!, ends[2 * trace + 1]!),
      services: this.servicesOf(trace, sizes[trace]!, spans),
    };
  }

  /** In the order of their first spans. */
  private servicesOf(
    trace: number,
    size: number,
    { resources, kindStatus, services }: Spans,
  ): ServiceStats[] {
    if (size > this.members.length) this.members = new Int32Array(size * 2);
    const { members } = this;
    this.index.copySpans(trace, members, 0);
    const byId = new Map<number, { readonly service: string; spanCount: number; errorCount: number }>();
    let id = -1;
    let stats = NO_STATS;
    for (let i = 0; i < size; i++) {
      const span = members[i]!;
      const next = services[resources[span]!]!;
      if (next !== id) {
        id = next;
        const known = byId.get(id);
        stats = known ?? { service: this.string(id), spanCount: 0, errorCount: 0 };
        if (known === undefined) byId.set(id, stats);
      }
      stats.spanCount++;
      if (kindStatus[span]! >>> 4 === STATUS_ERROR) stats.errorCount++;
    }
    return [...byId.values()];
  }

  private string(id: number): string {
    let string = this.texts.get(id);
    if (string === undefined) {
      // A copy: TextDecoder takes no shared memory.
      string = text.decode(this.reader.str(id).slice());
      if (this.texts.size < TEXTS_MAX) this.texts.set(id, string);
    }
    return string;
  }
}
