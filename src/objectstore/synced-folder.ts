// A folder that is written anew, file by file, each synced when it is closed. Whoever writes does so in large
// pieces, in a thread that may wait for the disk.
import * as fs from 'node:fs';
import { makeFolder } from './make-folder.ts';
import { syncFolder } from './sync-folder.ts';

const FILE_MODE = 0o600;

class SyncedFile {
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

export class SyncedFolder {
  private readonly root: string;
  private readonly prefix: string;
  private readonly lastName: string;
  private readonly folder: string;
  private readonly open = new Set<SyncedFile>();

  /**
   * Empties `<root>/<prefix>`.
   * @param lastName the file that says that all the others are there: they are synced before it is made.
   */
  constructor(root: string, prefix: string, lastName: string) {
    this.root = root;
    this.prefix = prefix;
    this.lastName = lastName;
    this.folder = `${root}/${prefix}`;
    fs.rmSync(this.folder, { recursive: true, force: true });
    makeFolder(this.folder);
  }

  create(name: string): { write(bytes: Uint8Array): void; close(): void } {
    if (name === this.lastName) syncFolder(this.folder);
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

  /** Syncs the names of what was made, up to the root. */
  finish(): void {
    const parts = this.prefix.split('/');
    for (let depth = parts.length; depth >= 0; depth--) {
      syncFolder([this.root, ...parts.slice(0, depth)].join('/'));
    }
  }

  /** After a failure: gives the files back. */
  abandon(): void {
    for (const file of this.open) file.abandon();
  }
}
