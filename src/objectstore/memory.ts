// An object store in memory: for tests.
import { TempoError } from '../lib/errors.ts';
import type { ObjectInfo, ObjectStore } from './objectstore.ts';

interface Stored {
  readonly bytes: Uint8Array;
  readonly modifiedMs: number;
}

export class MemoryStore implements ObjectStore {
  private readonly objects = new Map<string, Stored>();
  private readonly nowMs: () => number;
  private readonly readLocal: (path: string) => Promise<Uint8Array>;

  constructor(
    nowMs: () => number = Date.now,
    readLocal: (path: string) => Promise<Uint8Array> = () =>
      Promise.reject(new TempoError('unimplemented', 'no local files here')),
  ) {
    this.nowMs = nowMs;
    this.readLocal = readLocal;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  listFolders(prefix: string): Promise<string[]> {
    const found = new Set<string>();
    for (const rest of this.under(prefix))
      if (rest.includes('/')) found.add(rest.slice(0, rest.indexOf('/')));
    return Promise.resolve([...found]);
  }

  listObjects(prefix: string): Promise<string[]> {
    return Promise.resolve(this.under(prefix).filter((rest) => !rest.includes('/')));
  }

  async stat(key: string): Promise<ObjectInfo> {
    const { bytes, modifiedMs } = await this.get(key);
    return { sizeBytes: bytes.length, modifiedMs };
  }

  async read(key: string): Promise<Uint8Array> {
    return (await this.get(key)).bytes.slice();
  }

  async readRange(key: string, offset: number, lengthBytes: number): Promise<Uint8Array> {
    const { bytes } = await this.get(key);
    if (offset + lengthBytes > bytes.length) {
      throw new TempoError('block_corrupt', `${key} ends before byte ${offset + lengthBytes}`);
    }
    return bytes.slice(offset, offset + lengthBytes);
  }

  write(key: string, bytes: Uint8Array): Promise<void> {
    this.objects.set(key, { bytes: bytes.slice(), modifiedMs: this.nowMs() });
    return Promise.resolve();
  }

  async writeFile(key: string, path: string): Promise<void> {
    await this.write(key, await this.readLocal(path));
  }

  async copy(from: string, to: string): Promise<void> {
    await this.write(to, (await this.get(from)).bytes);
  }

  delete(key: string): Promise<void> {
    this.objects.delete(key);
    return Promise.resolve();
  }

  deleteFolder(prefix: string): Promise<void> {
    for (const key of this.objects.keys()) if (key.startsWith(`${prefix}/`)) this.objects.delete(key);
    return Promise.resolve();
  }

  private get(key: string): Promise<Stored> {
    const stored = this.objects.get(key);
    if (stored === undefined) return Promise.reject(new TempoError('not_found', `${key} does not exist`));
    return Promise.resolve(stored);
  }

  private under(prefix: string): string[] {
    const start = prefix === '' ? '' : `${prefix}/`;
    return [...this.objects.keys()]
      .filter((key) => key.startsWith(start))
      .map((key) => key.slice(start.length));
  }
}
