// The object store as seen from a thread that does not have it: calls go over a port to the one that has.
import type { MessagePort } from 'node:worker_threads';
import type { ReadUse } from '../cache/settings.ts';
import { type ErrorCode, requestCancelled, TempoError } from '../lib/errors.ts';
import type { ObjectInfo, TreeStore } from './objectstore.ts';
import type { FromStoreThread, StoreCall, ToStoreThread } from './store-messages.ts';

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (err: Error) => void;
}

export class PortStore implements TreeStore {
  private port: MessagePort | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;

  /** Calls go there from now on; those that wait for another port's answer fail. */
  attach(port: MessagePort): void {
    this.detach();
    this.port = port;
    port.on('message', (message: FromStoreThread) => this.received(message));
    port.on('close', () => {
      if (this.port === port) this.disconnected();
    });
    // Nothing waits for an answer: nothing keeps the thread.
    port.unref();
  }

  /** Calls fail from now on. */
  detach(): void {
    const { port } = this;
    this.port = undefined;
    port?.close();
    for (const { reject } of this.waiting.values()) reject(gone());
    this.waiting.clear();
  }

  async prepare(): Promise<void> {
    await this.call({ op: 'prepare' });
  }

  listFolders(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.call({ op: 'listFolders', key: prefix }, signal) as Promise<string[]>;
  }

  listObjects(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.call({ op: 'listObjects', key: prefix }, signal) as Promise<string[]>;
  }

  listTree(prefix: string, signal?: AbortSignal): Promise<string[]> {
    return this.call({ op: 'listTree', key: prefix }, signal) as Promise<string[]>;
  }

  stat(key: string, signal?: AbortSignal): Promise<ObjectInfo> {
    return this.call({ op: 'stat', key }, signal) as Promise<ObjectInfo>;
  }

  read(key: string, signal?: AbortSignal, use?: ReadUse): Promise<Uint8Array> {
    return this.call({ op: 'read', key, use }, signal) as Promise<Uint8Array>;
  }

  readRange(
    key: string,
    offset: number,
    lengthBytes: number,
    signal?: AbortSignal,
    use?: ReadUse,
  ): Promise<Uint8Array> {
    return this.call({ op: 'readRange', key, offset, lengthBytes, use }, signal) as Promise<Uint8Array>;
  }

  async distrust(folder: string): Promise<void> {
    await this.call({ op: 'distrust', key: folder });
  }

  async write(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.call({ op: 'write', key, bytes }, signal);
  }

  async writeFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    await this.call({ op: 'writeFile', key, path }, signal);
  }

  async copy(from: string, to: string, signal?: AbortSignal): Promise<void> {
    await this.call({ op: 'copy', key: from, to }, signal);
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.call({ op: 'delete', key }, signal);
  }

  async deleteFolder(prefix: string, signal?: AbortSignal): Promise<void> {
    await this.call({ op: 'deleteFolder', key: prefix }, signal);
  }

  /** The other side is gone. */
  protected disconnected(): void {
    this.detach();
  }

  private call(call: StoreCall, signal?: AbortSignal): Promise<unknown> {
    const { port } = this;
    if (port === undefined) return Promise.reject(gone());
    if (signal?.aborted === true) return Promise.reject(requestCancelled());
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        this.answered(id);
        port.postMessage({ kind: 'cancel', id } satisfies ToStoreThread);
        reject(requestCancelled());
      };
      const over = (): void => signal?.removeEventListener('abort', cancel);
      signal?.addEventListener('abort', cancel, { once: true });
      if (this.waiting.size === 0) port.ref();
      this.waiting.set(id, {
        resolve: (result) => {
          over();
          resolve(result);
        },
        reject: (err) => {
          over();
          reject(err);
        },
      });
      port.postMessage({ kind: 'call', id, call } satisfies ToStoreThread);
    });
  }

  private received(message: FromStoreThread): void {
    const waiting = this.answered(message.id);
    if (message.kind === 'done') waiting?.resolve(message.result);
    else waiting?.reject(new TempoError(message.code as ErrorCode, message.message));
  }

  private answered(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    if (this.waiting.delete(id) && this.waiting.size === 0) this.port?.unref();
    return waiting;
  }
}

function gone(): TempoError {
  return new TempoError('unavailable', 'the thread of the object store is not there');
}
