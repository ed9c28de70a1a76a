// A bucket as bad days make it: it errs, is slow, says that it failed when it did not, and answers in part.
// The process that asks may end at any of its calls: from then on none has an effect.
import { setImmediate as turn } from 'node:timers/promises';
import type {
  Bucket,
  ByteRange,
  Failure,
  ListPage,
  ListRequest,
  Upload,
  UploadShape,
} from '../../src/objectstore/bucket.ts';
import { TruncatedError } from '../../src/objectstore/failures.ts';
import type { ObjectInfo, ObjectStore } from '../../src/objectstore/objectstore.ts';
import type { Chance } from './fuzz.ts';
import { BucketError, type MemoryBucket } from './memory-bucket.ts';

/** How often, of a thousand calls. */
export interface Faults {
  /** An error and no effect: 503 SlowDown and its kin. */
  readonly errors: number;
  /** The effect, and an error. */
  readonly lostAnswers: number;
  /** Of data that is written: half of it is kept, and nothing is told. */
  readonly halves: number;
  /** Of reads: half of an answer. */
  readonly truncated: number;
  /** Turns of the event loop that a call takes, at most. */
  readonly turnsMax: number;
}

export const NO_FAULTS: Faults = { errors: 0, lostAnswers: 0, halves: 0, truncated: 0, turnsMax: 0 };

/** Of a process: it ends at the call after so many. */
export class Life {
  isOver = false;
  callsLeft = Infinity;

  /** A call begins. */
  step(): void {
    if (this.callsLeft-- <= 0) this.isOver = true;
    this.check();
  }

  check(): void {
    if (this.isOver) throw new BucketError('refused');
  }
}

/** A store on the disk of a process: its calls end with it. */
export function mortal<Store extends ObjectStore>(store: Store, life: Life): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      return async (...args: unknown[]): Promise<unknown> => {
        life.step();
        const result: unknown = await Reflect.apply(member, target, args);
        life.check();
        return result;
      };
    },
  });
}

export interface FaultyBucketOptions {
  readonly inner: MemoryBucket;
  readonly life: Life;
  readonly chance: Chance;
  readonly faults: () => Faults;
  /** Is told of what happens to a key, just before it does. */
  readonly before: (change: 'write' | 'delete', key: string, bytes: Uint8Array) => Promise<void>;
}

const NOTHING = new Uint8Array(0);

export class FaultyBucket implements Bucket {
  readonly name = 'bucket test';
  readonly listsAfter = true;
  private readonly options: FaultyBucketOptions;

  constructor(options: FaultyBucketOptions) {
    this.options = options;
  }

  list(request: ListRequest): Promise<ListPage> {
    return this.call((inner) => inner.list(request));
  }

  stat(key: string): Promise<ObjectInfo> {
    return this.call((inner) => inner.stat(key));
  }

  async read(key: string, range: ByteRange | undefined): Promise<Uint8Array> {
    const bytes = await this.call((inner) => inner.read(key, range));
    if (!this.happens('truncated')) return bytes;
    // Of a whole object the length is told before its bytes.
    if (range === undefined) throw new TruncatedError(bytes.length >> 1, bytes.length);
    return bytes.subarray(0, bytes.length >> 1);
  }

  write(key: string, bytes: Uint8Array): Promise<void> {
    return this.call(async (inner) => {
      await this.options.before('write', key, bytes);
      const isHalf = key.endsWith('data.parquet') && this.happens('halves');
      await inner.write(key, isHalf ? bytes.subarray(0, bytes.length >> 1) : bytes);
    });
  }

  uploadShape(): UploadShape {
    return this.options.inner.uploadShape();
  }

  startUpload(): Promise<Upload> {
    return Promise.reject(new BucketError('refused'));
  }

  copy(from: string, to: string): Promise<void> {
    return this.call((inner) => inner.copy(from, to));
  }

  delete(key: string): Promise<void> {
    return this.call(async (inner) => {
      if (inner.objects.has(key)) await this.options.before('delete', key, NOTHING);
      await inner.delete(key);
    });
  }

  failureOf(err: unknown): Failure {
    return this.options.inner.failureOf(err);
  }

  permissionFor(): string {
    return 'it';
  }

  close(): void {
    this.options.life.isOver = true;
  }

  private async call<T>(effect: (inner: MemoryBucket) => Promise<T>): Promise<T> {
    const { inner, life, chance, faults } = this.options;
    life.step();
    for (let turns = chance.below(faults().turnsMax + 1); turns > 0; turns--) await turn();
    life.check();
    if (this.happens('errors')) throw new BucketError(chance.of(['busy', 'throttled', 'unreachable']));
    const result = await effect(inner);
    life.check();
    if (this.happens('lostAnswers')) throw new BucketError('unreachable');
    return result;
  }

  private happens(fault: 'errors' | 'lostAnswers' | 'halves' | 'truncated'): boolean {
    const rate = this.options.faults()[fault];
    return rate > 0 && this.options.chance.below(1000) < rate;
  }
}
