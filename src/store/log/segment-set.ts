// The segments that the log consists of, how far each is covered by complete blocks, and deleting those that
// wholly are. Only the oldest is ever deleted: a `completed` record must not go before the frames that it
// speaks of.
import type { LogFiles } from './files.ts';

export interface Segment {
  readonly number: number;
  readonly path: string;
  sizeBytes: number;
  /** The last push frame of each tenant that still needs this segment. */
  readonly lastSequence: Map<string, number>;
}

export class SegmentSet {
  private readonly segments: Segment[] = [];
  /** By tenant: push frames up to here are in complete blocks. */
  private readonly coveredTo = new Map<string, number>();
  private readonly files: LogFiles;
  private readonly folder: string;
  private deleting: Promise<void> | undefined;

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

  /** Tenants whose frames keep the oldest segment. */
  holders(): string[] {
    const oldest = this.segments[0];
    if (oldest === undefined) return [];
    return [...oldest.lastSequence]
      .filter(([tenant, last]) => !this.isCovered(tenant, last))
      .map(([tenant]) => tenant);
  }

  cover(tenant: string, sequence: number): void {
    if (sequence > (this.coveredTo.get(tenant) ?? 0)) this.coveredTo.set(tenant, sequence);
  }

  /** Deletes what nobody needs, except the segment that is being written. */
  deleteCovered(current: Segment | undefined): Promise<void> {
    this.deleting = (this.deleting ?? Promise.resolve()).then(() => this.deleteOldest(current));
    return this.deleting;
  }

  private async deleteOldest(current: Segment | undefined): Promise<void> {
    for (;;) {
      const oldest = this.segments[0];
      if (oldest === undefined || oldest === current || !this.wholeCovered(oldest)) return;
      await this.files.remove(oldest.path);
      await this.files.syncFolder(this.folder);
      this.segments.shift();
    }
  }

  private wholeCovered(segment: Segment): boolean {
    for (const [tenant, last] of segment.lastSequence) if (!this.isCovered(tenant, last)) return false;
    return true;
  }

  private isCovered(tenant: string, sequence: number): boolean {
    return sequence <= (this.coveredTo.get(tenant) ?? 0);
  }
}
