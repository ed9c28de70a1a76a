// Answers the calls of another thread's `PortStore` with the store that is here.
import type { MessagePort } from 'node:worker_threads';
import { TempoError } from '../lib/errors.ts';
import type { TreeStore } from './objectstore.ts';
import type { FromStoreThread, StoreCall, ToStoreThread } from './store-messages.ts';

/** Until the port closes, which ends what is under way for it. */
export function serveStore(store: TreeStore, port: MessagePort): void {
  const running = new Map<number, AbortController>();
  const answer = (message: FromStoreThread, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer);
  port.on('message', (message: ToStoreThread) => {
    const { id } = message;
    if (message.kind === 'cancel') {
      running.get(id)?.abort();
      return;
    }
    const controller = new AbortController();
    running.set(id, controller);
    perform(store, message.call, controller.signal)
      .then(
        (result) => answer({ kind: 'done', id, result }, buffersOf(result)),
        (err: unknown) => answer({ kind: 'failed', id, ...told(err) }),
      )
      .finally(() => running.delete(id));
  });
  port.on('close', () => {
    for (const controller of running.values()) controller.abort();
  });
}

function told(err: unknown): { readonly code: string; readonly message: string } {
  const code = err instanceof TempoError ? err.code : 'internal';
  return { code, message: err instanceof Error ? err.message : String(err) };
}

function perform(store: TreeStore, call: StoreCall, signal: AbortSignal): Promise<unknown> {
  switch (call.op) {
    case 'prepare':
      return store.prepare();
    case 'read':
      return store.read(call.key, signal, call.use);
    case 'readRange':
      return store.readRange(call.key, call.offset, call.lengthBytes, signal, call.use);
    case 'distrust':
      return store.distrust?.(call.key) ?? Promise.resolve();
    case 'write':
      return store.write(call.key, call.bytes, signal);
    case 'writeFile':
      return store.writeFile(call.key, call.path, signal);
    case 'copy':
      return store.copy(call.key, call.to, signal);
    default:
      return store[call.op](call.key, signal);
  }
}

/** Bytes that were read move, they are not copied once more. */
function buffersOf(result: unknown): ArrayBuffer[] {
  if (!(result instanceof Uint8Array) || !(result.buffer instanceof ArrayBuffer)) return [];
  return result.byteLength === result.buffer.byteLength ? [result.buffer] : [];
}
