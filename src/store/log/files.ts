// What the log does to files while it runs, as a seam: tests put disks that are full or failing behind it.
import * as fs from 'node:fs';
import { promisify } from 'node:util';

/** All reject with Node's system errors. */
export interface LogFiles {
  /** Whether files can be created so that what is written to them lasts, without a sync of its own. */
  readonly canWriteThrough: boolean;
  /** Creates a file that must not exist. `writesThrough`: what is written to it lasts. */
  create(path: string, writesThrough: boolean): Promise<number>;
  /** Writes all parts one behind the other from `offset`. */
  write(fd: number, parts: Uint8Array[], offset: number): Promise<void>;
  datasync(fd: number): Promise<void>;
  truncate(fd: number, length: number): Promise<void>;
  close(fd: number): Promise<void>;
  remove(path: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

const FILE_MODE = 0o600;
const { O_CREAT, O_DSYNC, O_EXCL, O_WRONLY } = fs.constants;
const open = promisify(fs.open);
const datasync = promisify(fs.fdatasync);
const truncate = promisify(fs.ftruncate);
const close = promisify(fs.close);
const remove = promisify(fs.rm);
const fsync = promisify(fs.fsync);

export const realFiles: LogFiles = {
  // One way to the disk and back in place of two. Elsewhere the flag may not reach as far as a sync does.
  canWriteThrough: process.platform === 'linux',
  create: (path, writesThrough) =>
    open(path, O_WRONLY | O_CREAT | O_EXCL | (writesThrough ? O_DSYNC : 0), FILE_MODE),
  write: writeAll,
  datasync,
  truncate,
  close,
  remove: (path) => remove(path, { force: true }),
  syncFolder: async (path) => {
    const fd = await open(path, 'r');
    try {
      await fsync(fd);
    } finally {
      await close(fd);
    }
  },
};

function writeSome(fd: number, parts: readonly Uint8Array[], offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (err: Error | null, written: number): void =>
      err === null ? resolve(written) : reject(err);
    if (parts.length === 1) fs.write(fd, parts[0]!, 0, parts[0]!.length, offset, done);
    else fs.writev(fd, parts, offset, done);
  });
}

/** The kernel may take less than it is given: the rest is tried again, which tells why. */
async function writeAll(fd: number, parts: Uint8Array[], offset: number): Promise<void> {
  let rest = parts;
  let at = offset;
  while (rest.length > 0) {
    const written = await writeSome(fd, rest.slice(0, PARTS_MAX), at);
    at += written;
    rest = dropBytes(rest, written);
  }
}

/** Buffers that one writev takes (IOV_MAX is 1024). */
const PARTS_MAX = 512;

function dropBytes(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  let i = 0;
  while (i < parts.length && left >= parts[i]!.length) left -= parts[i++]!.length;
  const rest = parts.slice(i);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}
