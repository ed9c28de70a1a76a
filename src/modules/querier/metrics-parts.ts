// The parts of a metrics query while its jobs finish: those of the first jobs become one part whenever there
// are many or large ones, so that memory does not grow with the number of blocks. They are joined in the
// order of the jobs, as if all were joined in the end: the answer does not depend on who was first.
import { partBytes, type MetricsPart } from '../../traceql/engine/metrics/part.ts';

/** So much, and half of what they are added to, is worth a job. */
const MERGE_BYTES_MIN = 4 << 20;
const MERGE_PARTS_MIN = 100;

export interface MetricsPartsOptions {
  /** Makes one part of several, in their order. */
  readonly merge: (parts: readonly MetricsPart[]) => Promise<MetricsPart>;
  /** Parts of these bytes became one. */
  readonly replaced: (bytes: number, byBytes: number) => void;
}

export class MetricsParts {
  private readonly options: MetricsPartsOptions;
  /** Of the jobs from `first` on; undefined = not done. */
  private readonly later: (readonly MetricsPart[] | undefined)[] = [];
  /** Jobs before it are in `joined`. */
  private first = 0;
  private joined: readonly MetricsPart[] = [];
  private merging: Promise<void> | undefined;
  private isEnded = false;

  constructor(options: MetricsPartsOptions) {
    this.options = options;
  }

  /** @param part undefined = the job has none. */
  add(job: number, part: MetricsPart | undefined): void {
    this.later[job - this.first] = part === undefined ? [] : [part];
    this.mergeIfDue();
  }

  /** In the order of their jobs. */
  get soFar(): readonly MetricsPart[] {
    return [...this.joined, ...this.later.flatMap((parts) => parts ?? [])];
  }

  /** All, once none are joined any more. */
  async all(): Promise<readonly MetricsPart[]> {
    this.isEnded = true;
    await this.merging;
    return this.soFar;
  }

  /** One of all, to be asked for after them; those that there are where that fails. */
  async asOne(): Promise<readonly MetricsPart[]> {
    if (this.soFar.length > 1) await this.merge(this.soFar, this.later.length);
    return this.soFar;
  }

  private mergeIfDue(): void {
    if (this.merging !== undefined || this.isEnded) return;
    const missing = this.later.findIndex((parts) => parts === undefined);
    const jobs = missing < 0 ? this.later.length : missing;
    const next = this.later.slice(0, jobs).flatMap((parts) => parts ?? []);
    const bytes = sizeOf(next);
    const isLarge = bytes >= Math.max(MERGE_BYTES_MIN, sizeOf(this.joined) / 2);
    const parts = [...this.joined, ...next];
    if (parts.length < 2 || !(isLarge || next.length >= MERGE_PARTS_MIN)) return;
    this.merging = this.merge(parts, jobs);
  }

  private async merge(parts: readonly MetricsPart[], jobs: number): Promise<void> {
    try {
      const one = await this.options.merge(parts);
      this.later.splice(0, jobs);
      this.first += jobs;
      this.joined = [one];
      this.options.replaced(sizeOf(parts), partBytes(one));
    } catch {
      // The pool has counted it. What is not joined now is in the end, and is told when it cannot be.
      this.isEnded = true;
    }
    this.merging = undefined;
    this.mergeIfDue();
  }
}

function sizeOf(parts: readonly MetricsPart[]): number {
  return parts.reduce((sum, part) => sum + partBytes(part), 0);
}
