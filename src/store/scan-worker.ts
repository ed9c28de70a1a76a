// A scan thread: opens heads and blocks and runs the engine over them, one job after another.
import { parentPort, workerData } from 'node:worker_threads';
import { TempoError } from '../lib/errors.ts';
import { collectGarbage, collectWhenIdle, noteReleasedBytes } from '../lib/garbage.ts';
import { LocalStore } from '../objectstore/local.ts';
import { PortStore } from '../objectstore/port-store.ts';
import { followFlag } from './cancel-flag.ts';
import type { FromScanWorker, ScanResult, ScanWorkerData, ToScanWorker } from './scan-job.ts';
import { Scanner } from './scanner.ts';

const port = parentPort;
if (port === null) throw new Error('scan-worker runs only as a worker thread');

const { localBlocksPath, backendPath, cacheBytes } = workerData as ScanWorkerData;
const remote = backendPath === '' ? new PortStore() : undefined;
const scanner = new Scanner({
  local: new LocalStore(localBlocksPath),
  backend: remote ?? new LocalStore(backendPath),
  isRemote: remote !== undefined,
  cacheBytes,
});
/** Share of the cache that is kept while memory is short. */
const TIGHT_CACHE_SHARE = 0.25;

/** Pieces of a result that were put together, and what they were made of. */
const GARBAGE_PER_SENT_BYTE = 4;

const running = new Map<number, AbortController>();
let turn: Promise<void> = Promise.resolve();

port.on('message', (message: ToScanWorker) => {
  if (message.kind === 'cancel') {
    running.get(message.id)?.abort();
    return;
  }
  if (message.kind === 'released') {
    noteReleasedBytes(message.bytes);
    return;
  }
  if (message.kind === 'backend') {
    remote?.attach(message.port);
    return;
  }
  if (message.kind === 'pressure') {
    scanner.blocks.limitCache(message.pressure === 'calm' ? 1 : TIGHT_CACHE_SHARE);
    if (message.pressure !== 'calm') collectGarbage();
    return;
  }
  const { id, job, cancelled } = message;
  const controller = new AbortController();
  const signal = followFlag(controller, cancelled);
  running.set(id, controller);
  turn = turn.then(async () => {
    const before = process.threadCpuUsage();
    try {
      signal.throwIfAborted();
      const result = await scanner.run(job, signal);
      const used = process.threadCpuUsage(before);
      const cpuMicros = used.user + used.system;
      const { cachedBytes } = scanner.blocks;
      const buffers = buffersOf(result);
      const sentBytes = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
      send({ kind: 'done', id, result, cpuMicros, cachedBytes }, buffers);
      // What they were put together from is garbage now.
      noteReleasedBytes(GARBAGE_PER_SENT_BYTE * sentBytes);
    } catch (err) {
      const code = err instanceof TempoError ? err.code : 'internal';
      send({ kind: 'failed', id, code, message: err instanceof Error ? err.message : String(err) }, []);
    } finally {
      running.delete(id);
      collectWhenIdle();
    }
  });
});

function send(message: FromScanWorker, transfer: ArrayBuffer[]): void {
  port!.postMessage(message, transfer);
}

/** Large results move to the main thread rather than being copied. */
function buffersOf(result: ScanResult): ArrayBuffer[] {
  return largeArrays(result).flatMap((array) =>
    array !== undefined && array.buffer instanceof ArrayBuffer && array.byteLength === array.buffer.byteLength
      ? [array.buffer]
      : [],
  );
}

function largeArrays(result: ScanResult): readonly (ArrayBufferView | undefined)[] {
  switch (result.kind) {
    case 'search':
      return [result.found.bodies, result.found.ids];
    case 'trace':
      return [result.trace];
    case 'finishMetrics':
      return [result.bodies];
    default:
      return [];
  }
}
