// The thread that compacts: blocks of the backend become one in the scratch folder, synced, meta last. What
// was written is read again before it counts.
import * as os from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { compactBlocks, type CompactResult } from '../block/compact/compact.ts';
import { blockDecompressors } from '../block/compression.ts';
import { META_NAME } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import { LocalStore } from '../objectstore/local.ts';
import { PortStore } from '../objectstore/port-store.ts';
import { SyncedFolder } from '../objectstore/synced-folder.ts';
import { BlockOpener } from './block-opener.ts';
import { checkBlock } from './check-block.ts';
import type {
  CompactionJob,
  CompactionWorkerData,
  FromCompactionWorker,
  ToCompactionWorker,
} from './compaction-messages.ts';

/** Blocks are compacted when nothing more urgent is to be done. */
const NICENESS = 10;
/** Of ids and trees of the row groups in work. */
const CACHE_BYTES = 32 << 20;

const port = parentPort;
if (port === null) throw new Error('compaction-worker runs only as a worker thread');
// On Linux this is the niceness of the thread alone.
if (process.platform === 'linux') os.setPriority(NICENESS);

const { scratchPath, backendPath, bloom } = workerData as CompactionWorkerData;
const decompressors = blockDecompressors();
const never = new AbortController().signal;

async function compact(
  { inputs, blockId, traceBytesMax }: CompactionJob,
  remote: PortStore | undefined,
): Promise<CompactResult> {
  const backend = remote ?? new LocalStore(backendPath);
  const blocks = new BlockOpener({ local: backend, backend, cacheBytes: CACHE_BYTES });
  const opened = await Promise.all(inputs.map((meta) => blocks.open(meta, 'backend', never)));
  const sink = new SyncedFolder(scratchPath, `${inputs[0].tenantId}/${blockId}`, META_NAME);
  try {
    const options = { bloom };
    const request = { inputs: opened, blockId, options, decompressors, traceBytesMax, sink };
    const result = await compactBlocks(request);
    sink.finish();
    const scratch = new LocalStore(scratchPath);
    const written = new BlockOpener({ local: scratch, backend: scratch, cacheBytes: CACHE_BYTES });
    await checkBlock(await written.open(result.meta, 'local', never), result.spans);
    return result;
  } finally {
    sink.abandon();
  }
}

async function answerTo({ id, job, port: storePort }: ToCompactionWorker): Promise<FromCompactionWorker> {
  const remote = storePort === undefined ? undefined : new PortStore();
  if (storePort !== undefined) remote?.attach(storePort);
  try {
    return { kind: 'compacted', id, result: await compact(job, remote) };
  } catch (err) {
    const code = err instanceof TempoError ? err.code : 'internal';
    return { kind: 'failed', id, code, message: err instanceof Error ? err.message : String(err) };
  } finally {
    remote?.detach();
  }
}

port.on('message', (message: ToCompactionWorker) => {
  void answerTo(message).then((answer) => port.postMessage(answer));
});
