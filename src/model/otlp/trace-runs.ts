// What a scan tells of the traces of a request, for whoever limits them: runs of neighbouring spans of one
// trace, with their bytes. No ids are copied: a run names the place of its id in the request.
import type { SpanSink } from './scan.ts';

/** Words of a run. */
export const RunWord = {
  /** Where the 16 bytes of the trace id are. */
  idAt: 0,
  spans: 1,
  /** Of the spans with their tags and lengths. */
  bytes: 2,
  /** Number of the scope (InstrumentationScope under its resource) in the request. */
  group: 3,
  /** Of that scope and its resource: what a trace needs of them to stand alone. */
  groupBytes: 4,
} as const;
export const RUN_WORDS = 5;

const RUNS_MIN = 256;

/** Used again for request after request: valid until the next scan. */
export class TraceRuns implements SpanSink {
  count = 0;
  groups = 0;
  words = new Int32Array(RUNS_MIN * RUN_WORDS);
  private lastAt = -1;
  private resourceBytes = 0;
  private groupBytes = 0;

  clear(): void {
    this.count = 0;
    this.groups = 0;
    this.lastAt = -1;
  }

  beginResource(): void {
    this.resourceBytes = 0;
  }

  resourceField(start: number, end: number): void {
    this.resourceBytes += end - start;
  }

  beginScope(): void {
    this.groups++;
    this.groupBytes = this.resourceBytes;
    this.lastAt = -1;
  }

  /** Of the scope itself, which comes before its spans. */
  scopeField(start: number, end: number): void {
    this.groupBytes += end - start;
  }

  addSpan(body: Uint8Array, start: number, end: number, idAt: number): void {
    const bytes = end - start;
    const last = this.lastAt;
    if (last >= 0 && isSameId(body, last, idAt)) {
      const at = (this.count - 1) * RUN_WORDS;
      this.words[at + RunWord.spans]!++;
      this.words[at + RunWord.bytes]! += bytes;
      return;
    }
    this.lastAt = idAt;
    const at = this.count++ * RUN_WORDS;
    if (at === this.words.length) this.grow();
    const words = this.words;
    words[at] = idAt;
    words[at + RunWord.spans] = 1;
    words[at + RunWord.bytes] = bytes;
    words[at + RunWord.group] = this.groups - 1;
    words[at + RunWord.groupBytes] = this.groupBytes;
  }

  private grow(): void {
    const grown = new Int32Array(this.words.length * 2);
    grown.set(this.words);
    this.words = grown;
  }
}

/** Whether the trace ids at `a` and `b` are one. Backwards: ids made of a counter differ at their end. */
export function isSameId(bytes: Uint8Array, a: number, b: number): boolean {
  for (let i = 15; i >= 0; i--) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}
