// Has V8 give memory back in time. V8 sees the bytes of buffers only as a number beside its heap, so it
// collects too often where many short-lived ones pass, and too late where few large ones end.
import { totalmem } from 'node:os';
import v8 from 'node:v8';
import vm from 'node:vm';

type CollectGarbage = (options: { readonly type: 'minor' | 'major' }) => void;

/** Less than what V8 lets external memory grow by before it marks the heap (about 8 MiB on a small heap). */
const SCAVENGE_EVERY_BYTES = 4 << 20;
/**
 * Released memory worth a full collection: 5 to 20 ms on our small heaps, and as much again on V8's helper
 * threads, in each thread that held it. (At 32 MiB the heads of 64 tenants cost 13.4 µs a span until they
 * were blocks, at 256 MiB 8.8.)
 */
const COLLECT_EVERY_BYTES_MAX = 128 << 20;
const COLLECT_SHARE = 1 / 16;

/**
 * V8 marks a thread's small heap whenever about as much was allocated beside it: once a query. It holds back
 * until heap and external memory together are that large. With 32 metrics queries take up to twice the CPU.
 */
const THREAD_HEAP_FIRST_MIB = 64;
/**
 * A semi-space of a thread, for which V8 allows 16 MiB. With 8 searches at a time heaps of scan threads were
 * 28 MiB in place of 84.
 */
const THREAD_YOUNG_MIB = 4;

/** V8 marks the heap when external memory has grown by 64 MiB. Never touched, so never resident. */
const PRESSURE_BYTES = 80 << 20;

/** What jobs may leave outside the heap of a thread before it collects. */
const LEFTOVER_BYTES_MAX = 64 << 20;

/** A thread that has had nothing to do for that long is idle. */
export const IDLE_MS = 2000;

let idleTimer: NodeJS.Timeout | undefined;
let shortLivedBytes = 0;
let releasedBytes = 0;
/** V8 was made to mark, which it ends in tasks of the event loop. */
let isMarking = false;
/** Of what was left outside the heap, what the last collection did not free. */
let livingBytes = 0;
let collect: CollectGarbage | undefined;
let collectEveryBytes = 0;

/**
 * Tells that so many bytes were allocated outside the heap and will soon be garbage, as bytes read from
 * sockets are.
 * V8 answers these with full mark-compact collections, 40 a second at 400 MB/s; a scavenge in between frees
 * the same bytes for a tenth of the CPU (measured with 330 KB requests: 0.87 to 0.35 µs a span on the
 * receiving thread).
 */
export function noteShortLivedBytes(sizeBytes: number): void {
  shortLivedBytes += sizeBytes;
  if (shortLivedBytes < SCAVENGE_EVERY_BYTES) return;
  shortLivedBytes = 0;
  collect ??= findCollector();
  collect({ type: 'minor' });
}

/**
 * Tells that this thread has dropped shared memory of that size, such as a head that became a block. The
 * memory is free when every thread that held it has collected its handle; an idle thread would keep it for
 * minutes.
 */
export function noteReleasedBytes(sizeBytes: number): void {
  releasedBytes += sizeBytes;
  collectEveryBytes ||= Math.min(COLLECT_EVERY_BYTES_MAX, memoryBytes() * COLLECT_SHARE);
  if (releasedBytes < collectEveryBytes) return;
  markGarbage();
}

/**
 * For the threads that are started from now on: what is short-lived there is left to scavenges, and takes
 * little.
 */
export function markThreadHeapsLater(): void {
  v8.setFlagsFromString(`--initial-old-space-size=${THREAD_HEAP_FIRST_MIB}`);
  v8.setFlagsFromString(`--max-semi-space-size=${THREAD_YOUNG_MIB}`);
}

/**
 * Collects what jobs of this thread have left outside the heap, when that is much: V8 would wait until it is
 * as much again as what the thread keeps there. To be called after each job.
 *
 * @param keptBytes what is held on purpose.
 */
export function collectLeftovers(keptBytes: number): void {
  const leftBytes = (): number => Math.max(0, v8.getHeapStatistics().external_memory - keptBytes);
  livingBytes = Math.min(livingBytes, leftBytes());
  if (leftBytes() - livingBytes < LEFTOVER_BYTES_MAX) return;
  collect ??= findCollector();
  collect({ type: 'minor' });
  livingBytes = leftBytes();
  if (livingBytes < LEFTOVER_BYTES_MAX) return;
  markGarbage();
  livingBytes = leftBytes();
}

/**
 * Has V8 collect all there is, in steps beside what the thread does, as it does by itself when external
 * memory grows. A collection that is asked for (`collectGarbage`) drops the shapes of classes that have no
 * instance just then, and with them nearly all compiled code: 0.4 s of CPU for a block writer each time.
 */
export function markGarbage(): void {
  releasedBytes = 0;
  isMarking = true;
  // made while there is room for it
  collect ??= findCollector();
  try {
    // What V8 marks in steps it does not free: the buffer would count until the next time.
    new ArrayBuffer(PRESSURE_BYTES).transfer(0);
  } catch {
    // no room in the address space: what there is has to go now
    collectGarbage();
  }
}

/** Collects all there is, now. Compiled code goes as well: for when memory is short. */
export function collectGarbage(): void {
  releasedBytes = 0;
  isMarking = false;
  collect ??= findCollector();
  collect({ type: 'major' });
}

/**
 * Collects once this thread has had nothing to do for a while: V8 does so when it allocates, and an idle
 * thread would keep what its last job left. To be called after each job.
 */
export function collectWhenIdle(): void {
  if (idleTimer === undefined) idleTimer = setTimeout(markGarbage, IDLE_MS).unref();
  else idleTimer.refresh();
}

/**
 * Collects what was released since the last time: for an idle thread that sleeps without an event loop, in
 * which V8 does not end what it has begun to mark. (A head of 210 MB stayed until spans came again.)
 */
export function collectReleased(): void {
  if (releasedBytes > 0 || isMarking) collectGarbage();
}

/** Of the machine, or what the process may have of it. */
function memoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

function findCollector(): CollectGarbage {
  v8.setFlagsFromString('--expose-gc');
  const found: unknown = vm.runInNewContext('globalThis.gc');
  return typeof found === 'function' ? (found as CollectGarbage) : () => {};
}
