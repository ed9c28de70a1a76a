// The block writer thread: turns one cut head after another into a block in the ingester's folder, synced,
// meta last.
import * as fs from 'node:fs';
import * as os from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { HeadReader } from '../../block/head/reader.ts';
import type { BlockMeta } from '../../block/meta.ts';
import { type BlockObject, type BlockSink, createBlock } from '../../block/vparquet/create.ts';
import { noteReleasedBytes } from '../../lib/garbage.ts';
import type { BlockWorkerData, FromBlockWorker, ToBlockWorker, WriteJob } from './messages.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const META = 'meta.json';
/** Blocks are written when nothing more urgent is to be done. */
const NICENESS = 10;

/** A file that is synced when it is closed. Whoever writes it does so in large pieces. */
class SyncedFile implements BlockObject {
  private readonly fd: number;

  constructor(path: string) {
    this.fd = fs.openSync(path, 'wx', FILE_MODE);
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.fd, bytes, at, bytes.length - at);
  }

  close(): void {
    fs.fsyncSync(this.fd);
    this.abandon();
  }

  /** Closes without syncing. */
  abandon(): void {
    fs.closeSync(this.fd);
  }
}

class FolderSink implements BlockSink {
  private readonly folder: string;
  private readonly open = new Set<SyncedFile>();

  constructor(folder: string) {
    this.folder = folder;
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  }

  create(name: string): BlockObject {
    // The meta says that all the rest is there.
    if (name === META) syncFolder(this.folder);
    const file = new SyncedFile(`${this.folder}/${name}`);
    this.open.add(file);
    return {
      write: (bytes) => file.write(bytes),
      close: () => {
        file.close();
        this.open.delete(file);
      },
    };
  }

  /** After a failure: gives the files back. */
  abandon(): void {
    for (const file of this.open) file.abandon();
  }
}

function syncFolder(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function write({ blockId, tenant, sab }: WriteJob): BlockMeta {
  const { path, dedicatedColumns, bloom } = workerData as BlockWorkerData;
  const folder = `${path}/${tenant}/${blockId}`;
  const sink = new FolderSink(folder);
  try {
    const head = new HeadReader(sab);
    const meta = createBlock({ head, blockId, tenant, dedicatedColumns, options: { bloom }, sink });
    for (const made of [folder, `${path}/${tenant}`, path]) syncFolder(made);
    return meta;
  } finally {
    sink.abandon();
  }
}

const port = parentPort;
if (port === null) throw new Error('block-worker runs only as a worker thread');
// On Linux this is the niceness of the thread alone.
if (process.platform === 'linux') os.setPriority(NICENESS);

port.on('message', ({ id, job }: ToBlockWorker) => {
  let answer: FromBlockWorker;
  try {
    answer = { kind: 'written', id, meta: write(job) };
  } catch (err) {
    answer = { kind: 'failed', id, message: err instanceof Error ? err.message : String(err) };
  }
  port.postMessage(answer);
  const released = job.sab.byteLength;
  // Once this call, which holds the head, is over.
  setImmediate(() => noteReleasedBytes(released));
});
