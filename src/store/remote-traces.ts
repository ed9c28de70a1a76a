// The traces of a source in another process, as far as this one knows them: ids, digests and times, and of
// some the spans.
import { digestsAt } from '../block/stored-spans.ts';
import type { RemoteSource } from '../contracts/recent-traces.ts';
import { lowerBound } from '../lib/lower-bound.ts';
import type { OpenTraces } from './source-walk.ts';

export class RemoteTraces implements OpenTraces {
  readonly #source: RemoteSource;
  bytesRead = 0;

  constructor(source: RemoteSource) {
    this.#source = source;
  }

  get traceCount(): number {
    return this.#source.table.traceCount;
  }

  traceIds(): ReturnType<OpenTraces['traceIds']> {
    return Promise.resolve({ ids: this.#source.table.ids, sorted: false });
  }

  traceTimes(): ReturnType<OpenTraces['traceTimes']> {
    return Promise.resolve(this.#source.table);
  }

  newestStart(): Promise<number> {
    return Promise.resolve(this.#source.table.newestStart);
  }

  mayHaveIds(): boolean {
    return this.traceCount > 0;
  }

  spanDigests(traces: Int32Array): Promise<Int32Array> {
    return Promise.resolve(digestsAt(this.#source.table.digests, traces));
  }

  /** Those that came along with the job. */
  traces(traces: Int32Array): Promise<Uint8Array> {
    const { parts, blockId } = this.#source;
    if (parts === undefined) throw new Error(`traces of ${blockId} did not come along`);
    const pieces = Array.from(traces, (trace) => {
      const at = lowerBound(parts.rows, trace);
      if (parts.rows[at] !== trace) throw new Error(`trace ${trace} of ${blockId} did not come along`);
      return parts.bytes.subarray(at === 0 ? 0 : parts.ends[at - 1]!, parts.ends[at]!);
    });
    const bytes = Buffer.concat(pieces);
    this.bytesRead += bytes.length;
    return Promise.resolve(bytes);
  }
}
