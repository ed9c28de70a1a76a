// Watches the free space of the disks that are written to: below a margin pushes are refused, so that what
// was acknowledged can still become blocks.
import { statfs, statfsSync, type StatsFs } from 'node:fs';
import { RetryLaterError } from '../lib/errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';

type Space = Pick<StatsFs, 'bavail' | 'blocks' | 'bsize'>;

export interface DiskGuardOptions {
  readonly paths: readonly string[];
  /** Of a small disk, a twentieth. */
  readonly minFreeBytes: number;
  readonly metrics: Metrics;
  /** What a disk says at once. */
  readonly look?: (path: string) => Space;
  /** What it says when it comes to it. */
  readonly ask?: (path: string, told: (err: Error | null, space: Space) => void) => void;
}

const SAMPLE_MS = 250;
const RETRY_MS = 5000;
const SMALL_DISK_SHARE = 0.05;

class Disk {
  readonly path: string;
  /** Not known yet: whoever asks first looks. */
  freeBytes = 0;
  minFreeBytes = Infinity;
  /** A file system that does not answer gets one thread, not one more at each look. */
  isAsked = false;
  readonly #wantedBytes: number;

  constructor(path: string, wantedBytes: number) {
    this.path = path;
    this.#wantedBytes = wantedBytes;
  }

  get isLow(): boolean {
    return this.freeBytes < this.minFreeBytes;
  }

  set({ bavail, blocks, bsize }: Space): void {
    this.freeBytes = bavail * bsize;
    this.minFreeBytes = Math.min(this.#wantedBytes, blocks * bsize * SMALL_DISK_SHARE);
  }

  /** What cannot be told is no reason to refuse. */
  unset(): void {
    this.freeBytes = Infinity;
    this.minFreeBytes = 0;
  }
}

export class DiskGuard {
  readonly #disks: readonly Disk[];
  readonly #look: (path: string) => Space;
  readonly #ask: NonNullable<DiskGuardOptions['ask']>;
  readonly #timer: NodeJS.Timeout;

  constructor({ paths, minFreeBytes, metrics, look, ask }: DiskGuardOptions) {
    this.#look = look ?? statfsSync;
    this.#ask = ask ?? statfs;
    this.#disks = paths.map((path) => new Disk(path, minFreeBytes));
    const known = (): readonly Disk[] =>
      this.#disks.filter((disk) => disk.freeBytes + disk.minFreeBytes < Infinity);
    metrics.gauge('tempo_disk_free_bytes', 'Free space of the disk of a folder.', ['path'], (gauge) => {
      for (const { path, freeBytes } of known()) gauge.set({ path }, freeBytes);
    });
    metrics.gauge(
      'tempo_disk_min_free_bytes',
      'Below that much free space pushes are refused.',
      ['path'],
      (gauge) => {
        for (const { path, minFreeBytes: least } of known()) gauge.set({ path }, least);
      },
    );
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Why nothing of that size may be written now. While a disk is low it is looked at each time. */
  refusal(sizeBytes: number): RetryLaterError | undefined {
    for (const disk of this.#disks) {
      disk.freeBytes -= sizeBytes;
      if (!disk.isLow) continue;
      this.#lookAt(disk);
      if (!disk.isLow) continue;
      const free = `${disk.freeBytes} bytes are free, ${Math.round(disk.minFreeBytes)} are kept free`;
      return new RetryLaterError('unavailable', `disk of ${disk.path} is almost full: ${free}`, RETRY_MS);
    }
    return undefined;
  }

  /** False when so much more would leave less than what is kept free. */
  hasRoom(sizeBytes: number): boolean {
    for (const disk of this.#disks) if (disk.minFreeBytes === Infinity) this.#lookAt(disk);
    return this.#disks.every((disk) => disk.freeBytes - sizeBytes >= disk.minFreeBytes);
  }

  #lookAt(disk: Disk): void {
    try {
      disk.set(this.#look(disk.path));
    } catch {
      disk.unset();
    }
  }

  #sample(): void {
    for (const disk of this.#disks) {
      if (disk.isAsked) continue;
      disk.isAsked = true;
      this.#ask(disk.path, (err, space) => {
        disk.isAsked = false;
        if (err === null) disk.set(space);
        else disk.unset();
      });
    }
  }
}
