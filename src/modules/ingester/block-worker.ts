// The block writer thread: turns one cut head after another into a block in the ingester's folder, synced,
// meta last.
import { parentPort, workerData } from 'node:worker_threads';
import { blockCompressor } from '../../block/compression.ts';
import { HeadReader } from '../../block/head/reader.ts';
import { type BlockMeta, META_NAME } from '../../block/meta.ts';
import { createBlock } from '../../block/vparquet/create.ts';
import type { OddTraces } from '../../block/vparquet/trace-rows.ts';
import { collectWhenIdle, noteReleasedBytes } from '../../lib/garbage.ts';
import { giveWay } from '../../lib/thread-priority.ts';
import { SyncedFolder } from '../../objectstore/synced-folder.ts';
import type { BlockWorkerData, FromBlockWorker, ToBlockWorker, WriteJob } from './messages.ts';

/** Blocks are written when nothing more urgent is to be done. */
const NICENESS = 10;

function write({ blockId, tenant, sab, ...own }: WriteJob, odd: OddTraces): BlockMeta {
  const { path, format, bloom, valueFilterBytesMax, compression, ...usual } = workerData as BlockWorkerData;
  const dedicatedColumns = own.dedicatedColumns ?? usual.dedicatedColumns;
  const sink = new SyncedFolder(path, `${tenant}/${blockId}`, META_NAME);
  try {
    const head = new HeadReader(sab);
    const options = { bloom, valueFilterBytesMax, compressor: blockCompressor(compression) };
    const meta = createBlock({ head, blockId, tenant, format, dedicatedColumns, options, sink, odd });
    sink.finish();
    return meta;
  } finally {
    sink.abandon();
  }
}

const port = parentPort;
if (port === null) throw new Error('block-worker runs only as a worker thread');
giveWay(NICENESS);

port.on('message', ({ id, job }: ToBlockWorker) => {
  let answer: FromBlockWorker;
  try {
    const odd = { disconnected: 0, rootless: 0 };
    answer = { kind: 'written', id, meta: write(job, odd), odd };
  } catch (err) {
    answer = { kind: 'failed', id, message: err instanceof Error ? err.message : String(err) };
  }
  port.postMessage(answer);
  const released = job.sab.byteLength;
  // Once this call, which holds the head, is over.
  setImmediate(() => noteReleasedBytes(released));
  collectWhenIdle();
});
