// Memory that is used over and over, for what is needed only for the length of one piece of work, of which
// several may be under way: V8 counts bytes outside of its heap and would mark the heap after every few
// megabytes. Where one follows the other there is work-memory.ts.

/** What is kept for the next work; more is made anew each time. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;
const CHUNK_BYTES_MIN = 256 * 1024;
const ALIGNED_TO = 8;

export class ScratchPool {
  /** What came back last is last. */
  private readonly free: Uint8Array[] = [];
  private readonly poison: number | undefined;
  private keptBytesMax: number;
  private freeBytes = 0;

  /** @param poison what memory is filled with when it comes back: for tests of who still refers to it. */
  constructor(keptBytesMax = KEPT_BYTES_MAX, poison?: number) {
    this.keptBytesMax = keptBytesMax;
    this.poison = poison;
  }

  /** What waits for the next work. */
  get keptBytes(): number {
    return this.freeBytes;
  }

  /** Memory that is to be given back by `end`. */
  begin(): Scratch {
    return new Scratch(this);
  }

  /** Memory for the length of `work`: nothing that lives longer may refer to it. */
  async lend<T>(work: (scratch: Scratch) => T | Promise<T>): Promise<T> {
    const scratch = this.begin();
    try {
      return await work(scratch);
    } finally {
      scratch.end();
    }
  }

  /** Changes how much is kept. */
  limit(keptBytesMax: number): void {
    this.keptBytesMax = keptBytesMax;
    this.forget();
  }

  /** The smallest chunk that has as many bytes. */
  chunk(lengthBytes: number): Uint8Array {
    let best = -1;
    for (let i = 0; i < this.free.length; i++) {
      const { length } = this.free[i];
      if (length >= lengthBytes && (best < 0 || length < this.free[best].length)) best = i;
    }
    if (best < 0) return new Uint8Array(chunkBytes(lengthBytes));
    const [chunk] = this.free.splice(best, 1);
    this.freeBytes -= chunk.length;
    return chunk;
  }

  giveBack(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      if (this.poison !== undefined) chunk.fill(this.poison);
      if (chunk.length > this.keptBytesMax) continue;
      this.free.push(chunk);
      this.freeBytes += chunk.length;
    }
    this.forget();
  }

  /** What nobody has needed for longest goes first: sizes that are no longer asked for must not fill it. */
  private forget(): void {
    let drop = 0;
    while (this.freeBytes > this.keptBytesMax) this.freeBytes -= this.free[drop++].length;
    this.free.splice(0, drop);
  }
}

/** Memory of one piece of work. */
export class Scratch {
  private readonly pool: ScratchPool;
  private readonly chunks: Uint8Array[] = [];
  private chunk: Uint8Array = NOTHING;
  private used = 0;
  private isEnded = false;

  constructor(pool: ScratchPool) {
    this.pool = pool;
  }

  /** Bytes of any content, valid until `end`. */
  take(lengthBytes: number): Uint8Array {
    if (this.isEnded) throw new Error('memory is asked for after the work that it was for');
    if (this.used + lengthBytes > this.chunk.length) {
      const chunk = this.pool.chunk(lengthBytes);
      this.chunks.push(chunk);
      if (chunk.length - lengthBytes <= this.chunk.length - this.used) return chunk.subarray(0, lengthBytes);
      this.chunk = chunk;
      this.used = 0;
    }
    const start = this.used;
    this.used += Math.ceil(lengthBytes / ALIGNED_TO) * ALIGNED_TO;
    return this.chunk.subarray(start, start + lengthBytes);
  }

  /** What was taken may be overwritten from now on. */
  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.pool.giveBack(this.chunks);
  }
}

const NOTHING = new Uint8Array(0);

/** Few different sizes, of which at most a quarter is not needed. */
function chunkBytes(lengthBytes: number): number {
  if (lengthBytes <= CHUNK_BYTES_MIN) return CHUNK_BYTES_MIN;
  const step = 2 ** (Math.floor(Math.log2(lengthBytes)) - 2);
  return Math.ceil(lengthBytes / step) * step;
}
