// A scan thread: opens heads and blocks and runs the engine over them, one job after another.
import { parentPort, workerData } from 'node:worker_threads';
import { TempoError } from '../lib/errors.ts';
import { collectGarbage, collectLeftovers, collectWhenIdle, noteReleasedBytes } from '../lib/garbage.ts';
import { giveWay } from '../lib/thread-priority.ts';
import { LocalStore } from '../objectstore/local.ts';
import { PortStore } from '../objectstore/port-store.ts';
import { followFlag } from './cancel-flag.ts';
import { buffersOf } from './result-buffers.ts';
import type { FromScanWorker, ScanWorkerData, ToScanWorker } from './scan-job.ts';
import { Scanner } from './scanner.ts';
import { forgetHead } from './source-walk.ts';

/** Spans that come in wait for a core several times until they are acknowledged: searches give way. */
const NICENESS = 5;

const port = parentPort;
if (port === null) throw new Error('scan-worker runs only as a worker thread');
giveWay(NICENESS);

const { localBlocksPath, backendPath, cacheBytes, cached } = workerData as ScanWorkerData;
const remote = backendPath === '' ? new PortStore() : undefined;
const scanner = new Scanner({
  local: new LocalStore(localBlocksPath),
  backend: remote ?? new LocalStore(backendPath),
  isRemote: remote !== undefined,
  cacheBytes,
  cached,
});
/** Share of the cache that is kept while memory is short. */
const TIGHT_CACHE_SHARE = 0.25;
/** A cache that shrinks by more is collected at once. */
const SHRUNK_BYTES_MIN = 16 << 20;

/** Of the cache while memory is short, and while answers take a part of it. */
let pressureShare = 1;
let answersShare = 1;
const running = new Map<number, AbortController>();
let turn: Promise<void> = Promise.resolve();

port.on('message', (message: ToScanWorker) => {
  if (message.kind === 'cancel') {
    running.get(message.id)?.abort();
    return;
  }
  if (message.kind === 'released') {
    forgetHead(scanner.blocks.heads, message.blockId);
    noteReleasedBytes(message.bytes);
    return;
  }
  if (message.kind === 'backend') {
    remote?.attach(message.port);
    return;
  }
  if (message.kind === 'pressure') {
    pressureShare = message.pressure === 'calm' ? 1 : TIGHT_CACHE_SHARE;
    limitCache();
    if (message.pressure !== 'calm') collectGarbage();
    return;
  }
  if (message.kind === 'cacheShare') {
    answersShare = message.share;
    limitCache();
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
      scanner.blocks.nextTurn();
      const result = await scanner.run(job, signal);
      const used = process.threadCpuUsage(before);
      const cpuMicros = used.user + used.system;
      const { cachedBytes, filters, heads } = scanner.blocks;
      const filtered = { filterBytes: filters.cache.sizeBytes, filters: filters.takeCounts() };
      const kept = { cachedBytes, headBytes: heads.sizeBytes };
      send({ kind: 'done', id, result, cpuMicros, ...kept, ...filtered }, buffersOf(result));
    } catch (err) {
      const code = err instanceof TempoError ? err.code : 'internal';
      send({ kind: 'failed', id, code, message: err instanceof Error ? err.message : String(err) }, []);
    } finally {
      running.delete(id);
      collectLeftovers(scanner.blocks.cachedBytes);
      collectWhenIdle();
    }
  });
});

function limitCache(): void {
  const before = scanner.blocks.cachedBytes;
  scanner.blocks.limitCache(Math.min(pressureShare, answersShare));
  if (before - scanner.blocks.cachedBytes >= SHRUNK_BYTES_MIN) collectGarbage();
}

function send(message: FromScanWorker, transfer: ArrayBuffer[]): void {
  port!.postMessage(message, transfer);
}
