// The thread that compacts: blocks of the backend become one in the scratch folder, synced, meta last.
import { parentPort, workerData } from 'node:worker_threads';
import type { CompactResult } from '../block/compact/compact.ts';
import { META_NAME } from '../block/meta.ts';
import { TempoError } from '../lib/errors.ts';
import { collectWhenIdle } from '../lib/garbage.ts';
import { giveWay } from '../lib/thread-priority.ts';
import { LocalStore } from '../objectstore/local.ts';
import { PortStore } from '../objectstore/port-store.ts';
import { SyncedFolder } from '../objectstore/synced-folder.ts';
import { compactChecked } from './compact-checked.ts';
import type {
  CompactionJob,
  CompactionWorkerData,
  FromCompactionWorker,
  ToCompactionWorker,
} from './compaction-messages.ts';

/** Blocks are compacted when nothing more urgent is to be done. */
const NICENESS = 10;

const port = parentPort;
if (port === null) throw new Error('compaction-worker runs only as a worker thread');
giveWay(NICENESS);

const { scratchPath, backendPath, bloom, valueFilterBytesMax, compression } =
  workerData as CompactionWorkerData;

async function compact(job: CompactionJob, remote: PortStore | undefined): Promise<CompactResult> {
  const backend = remote ?? new LocalStore(backendPath);
  const sink = new SyncedFolder(scratchPath, `${job.inputs[0].tenantId}/${job.blockId}`, META_NAME);
  try {
    const scratch = new LocalStore(scratchPath);
    return await compactChecked(job, { backend, scratch, sink, bloom, valueFilterBytesMax, compression });
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
  void answerTo(message)
    .then((answer) => port.postMessage(answer))
    .finally(collectWhenIdle);
});
