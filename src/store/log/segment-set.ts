// The segments that the log consists of, who still needs each, and deleting those that nobody needs. Only the
// oldest is ever deleted: a `completed` record must not go before the frames that it speaks of.
import type { LogFiles } from './files.ts';

export interface Segment {
  readonly number: number;
  readonly path: string;
  sizeBytes: number;
  /** Of its first frame, or of an earlier one. */
  readonly firstSequence: number;
  /** The last push frame of each tenant that is in no complete block. */
  readonly lastSequence: Map<string, number>;
}

export class SegmentSet {
  private readonly segments: Segment[] = [];
  private readonly files: LogFiles;
  private readonly folder: string;
  private deleting: Promise<void> | undefined;
  private current: Segment | undefined;

  constructor(folder: string, files: LogFiles) {
    this.folder = folder;
    this.files = files;
  }

  get count(): number {
    return this.segments.length;
  }

  get sizeBytes(): number {
    return this.segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }

  get nextNumber(): number {
    return (this.segments.at(-1)?.number ?? 0) + 1;
  }

  list(): readonly Segment[] {
    return this.segments;
  }

  add(segment: Segment): void {
    this.segments.push(segment);
  }

  /** Adds the one that is written from now on: it stays until `endCurrent`, even while it is empty. */
  begin(segment: Segment): void {
    this.segments.push(segment);
    this.current = segment;
  }

  endCurrent(): void {
    this.current = undefined;
  }

  /** The segment being written. */
  get written(): Segment | undefined {
    return this.current;
  }

  /** No segment has frames before this one. */
  get firstSequence(): number {
    return this.segments[0]?.firstSequence ?? 0;
  }

  /** Tenants whose frames keep the oldest segment. */
  holders(): string[] {
    return [...(this.segments[0]?.lastSequence.keys() ?? [])];
  }

  /** The push frames of a tenant up to here are in complete blocks. */
  cover(tenant: string, sequence: number): void {
    for (const { lastSequence } of this.segments) {
      const last = lastSequence.get(tenant);
      if (last !== undefined && last <= sequence) lastSequence.delete(tenant);
    }
  }

  /** Deletes what nobody needs, except the segment that is being written. */
  deleteCovered(): Promise<void> {
    this.deleting = (this.deleting ?? Promise.resolve()).then(() => this.deleteOldest());
    return this.deleting;
  }

  private async deleteOldest(): Promise<void> {
    for (;;) {
      const oldest = this.segments[0];
      // Which one is being written may change while another is deleted.
      if (oldest === undefined || oldest === this.current || oldest.lastSequence.size > 0) return;
      await this.files.remove(oldest.path);
      await this.files.syncFolder(this.folder);
      this.segments.shift();
    }
  }
}
