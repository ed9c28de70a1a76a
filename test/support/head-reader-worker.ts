// Takes snapshots of a head that another thread is writing, until told to stop, and reports what is not
// whole.
import { parentPort, workerData } from 'node:worker_threads';
import { HEAD_VECS, type HeadVecName } from '../../src/block/head/layout.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';

export interface HeadReaderData {
  readonly sab: SharedArrayBuffer;
  /** Word 0: not 0 = stop. Word 1: snapshots taken so far. */
  readonly flags: Int32Array;
  readonly spansPerFrame: number;
}

const { sab, flags, spansPerFrame } = workerData as HeadReaderData;
const problems = new Set<string>();
const spanVecs = (Object.keys(HEAD_VECS) as HeadVecName[]).filter(
  (name) => name.startsWith('span') && !/Attr(Key|Value)$|Dropped|Odd/.test(name),
);
let largest = 0;

while (problems.size === 0) {
  const isLast = Atomics.load(flags, 0) !== 0;
  await check();
  Atomics.add(flags, 1, 1);
  if (isLast) break;
}
parentPort?.postMessage({ problems: [...problems], largest });

async function check(): Promise<void> {
  const reader = new HeadReader(sab);
  const { vecs, spanCount } = reader;
  if (spanCount < largest) problems.add('the head shrank');
  largest = spanCount;
  if (spanCount % spansPerFrame !== 0) problems.add(`half a frame: ${spanCount} spans`);
  for (const name of spanVecs) if (vecs[name].count !== spanCount) problems.add(`${name} has another count`);
  if (spanCount === 0) return;
  const source = new HeadSource(reader, 'head');
  const last = vecs.spanTrace.get(spanCount - 1);
  if (last >= reader.traceCount) problems.add('a span of an unknown trace');
  const { startMicros, endMicros } = await source.traceTimes();
  for (let t = 0; t < startMicros.length; t++) {
    if (!(startMicros[t]! > 1.7e15 && endMicros[t]! >= startMicros[t]!)) problems.add('torn trace times');
  }
  const trace = await source.trace(reader.traceId(last));
  if (trace === undefined || trace.length === 0) problems.add('a trace without bytes');
  const [user] = await source.load([{ field: { kind: 'attribute', scope: 'span', name: 'user.id' } }]);
  if (user!.count !== spanCount) problems.add(`${user!.count} attributes of ${spanCount} spans`);
}
