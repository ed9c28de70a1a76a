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
const BUFFER_BYTES = 1024 * 1024;
const META = 'meta.json';
/** Blocks are written when nothing more urgent is to be done. */
const NICENESS = 10;

/** A file that is written in large pieces and synced when it is closed. */
class SyncedFile implements BlockObject {
  private readonly fd: number;
  private readonly buffer: Uint8Array;
  private filled = 0;

  constructor(path: string, buffer: Uint8Array) {
    this.fd = fs.openSync(path, 'wx', FILE_MODE);
    this.buffer = buffer;
  }

  write(bytes: Uint8Array): void {
    if (this.filled + bytes.length > this.buffer.length) this.empty();
    if (bytes.length > this.buffer.length) {
      writeAll(this.fd, bytes);
      return;
    }
    this.buffer.set(bytes, this.filled);
    this.filled += bytes.length;
  }

  close(): void {
    this.empty();
    fs.fsyncSync(this.fd);
    this.abandon();
  }

  /** Closes without saving what is buffered. */
  abandon(): void {
    fs.closeSync(this.fd);
  }

  private empty(): void {
    writeAll(this.fd, this.buffer.subarray(0, this.filled));
    this.filled = 0;
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at, bytes.length - at);
}

class FolderSink implements BlockSink {
  private readonly folder: string;
  private readonly buffer = new Uint8Array(BUFFER_BYTES);
  private readonly open = new Set<SyncedFile>();

  constructor(folder: string) {
    this.folder = folder;
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  }

  create(name: string): BlockObject {
    // The meta says that all the rest is there.
    if (name === META) syncFolder(this.folder);
    const file = new SyncedFile(`${this.folder}/${name}`, this.buffer);
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
