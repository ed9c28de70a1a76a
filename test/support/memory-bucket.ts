// A bucket in memory: pages of listings, parts of uploads, and failures on demand.
import type {
  Action,
  Bucket,
  ByteRange,
  Failure,
  FailureKind,
  ListPage,
  ListRequest,
  Upload,
  UploadShape,
} from '../../src/objectstore/bucket.ts';
import { networkFailure } from '../../src/objectstore/failures.ts';
import type { ObjectInfo } from '../../src/objectstore/objectstore.ts';

export class BucketError extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind) {
    super('no');
    this.kind = kind;
  }
}

type Call = Action | 'part';

export class MemoryBucket implements Bucket {
  readonly name = 'bucket test';
  readonly listsAfter = true;
  readonly objects = new Map<string, Uint8Array>();
  private readonly modifiedMs = new Map<string, number>();
  readonly calls: Record<Call, number> = {
    list: 0,
    stat: 0,
    read: 0,
    write: 0,
    copy: 0,
    delete: 0,
    part: 0,
  };
  partBytes = 4 * 1024 * 1024;
  /** What parts of uploads lay in. */
  readonly partMemory = new Set<ArrayBufferLike>();
  abandoned = 0;
  /** Reads are never answered. */
  hang = false;
  private readonly failing = new Map<Call, { left: number; kind: FailureKind }>();
  private readonly nowMs: () => number;
  private puts = 0;
  private sorted: { readonly version: string; readonly keys: readonly string[] } | undefined;

  constructor(nowMs: () => number = Date.now) {
    this.nowMs = nowMs;
  }

  /** The next calls of that kind fail. */
  fail(call: Call, times: number, kind: FailureKind): void {
    this.failing.set(call, { left: times, kind });
  }

  list({ prefix, isFlat, after, token, pageLength }: ListRequest): Promise<ListPage> {
    this.called('list');
    const names = new Set<string>();
    const begin = token ?? after ?? '';
    for (const key of this.sortedKeys()) {
      if (names.size > pageLength) break;
      if (!key.startsWith(prefix)) continue;
      const slash = isFlat ? key.indexOf('/', prefix.length) : -1;
      const name = slash === -1 ? key : key.slice(0, slash + 1);
      if (name > begin) names.add(name);
    }
    const sorted = [...names];
    const page = sorted.slice(0, pageLength);
    return Promise.resolve({
      folders: page.filter((name) => name.endsWith('/')),
      objects: page.filter((name) => !name.endsWith('/')),
      next: sorted.length > page.length ? page.at(-1) : undefined,
    });
  }

  async stat(key: string): Promise<ObjectInfo> {
    this.called('stat');
    const { length: sizeBytes } = await this.get(key);
    return { sizeBytes, modifiedMs: this.modifiedMs.get(key) ?? 0 };
  }

  async read(key: string, range: ByteRange | undefined, signal?: AbortSignal): Promise<Uint8Array> {
    this.called('read');
    if (this.hang) await aborted(signal);
    const whole = await this.get(key);
    if (range === undefined) return whole.slice();
    if (range.offset >= whole.length) throw new BucketError('range');
    return whole.slice(range.offset, range.offset + range.lengthBytes);
  }

  write(key: string, bytes: Uint8Array): Promise<void> {
    return this.attempt('write', () => this.put(key, new Uint8Array(bytes)));
  }

  uploadShape(): UploadShape {
    return { partBytes: this.partBytes, partsAtOnce: 2 };
  }

  startUpload(key: string): Promise<Upload> {
    const parts: Uint8Array[] = [];
    return Promise.resolve({
      part: (index, bytes) => {
        this.partMemory.add(bytes.buffer);
        return this.attempt('part', () => void (parts[index] = bytes.slice()));
      },
      finish: () => this.write(key, Buffer.concat(parts)),
      abandon: () => this.attempt('stat', () => void this.abandoned++),
    });
  }

  async copy(from: string, to: string): Promise<void> {
    this.called('copy');
    this.put(to, await this.get(from));
  }

  delete(key: string): Promise<void> {
    return this.attempt('delete', () => void this.objects.delete(key));
  }

  failureOf(err: unknown): Failure {
    if (err instanceof BucketError) return { kind: err.kind, detail: err.message };
    return networkFailure(err) ?? { kind: 'refused', detail: String(err) };
  }

  permissionFor(action: Action): string {
    return `the permission to ${action}`;
  }

  close(): void {
    this.objects.clear();
  }

  private async attempt(call: Call, work: () => void): Promise<void> {
    this.called(call);
    work();
    await Promise.resolve();
  }

  private called(call: Call): void {
    this.calls[call]++;
    const failing = this.failing.get(call);
    if (failing === undefined || failing.left === 0) return;
    failing.left--;
    throw new BucketError(failing.kind);
  }

  /** Tests add and delete objects too: their number tells. */
  private sortedKeys(): readonly string[] {
    const version = `${this.puts} ${this.objects.size}`;
    if (this.sorted?.version !== version) this.sorted = { version, keys: [...this.objects.keys()].sort() };
    return this.sorted.keys;
  }

  private put(key: string, bytes: Uint8Array): void {
    this.puts++;
    this.objects.set(key, bytes);
    this.modifiedMs.set(key, this.nowMs());
  }

  private get(key: string): Promise<Uint8Array> {
    const found = this.objects.get(key);
    return found === undefined ? Promise.reject(new BucketError('not_found')) : Promise.resolve(found);
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(new DOMException('x', 'AbortError')));
  });
}
