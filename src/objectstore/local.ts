// The local backend: objects are files under one folder, as Tempo lays them out.
import { randomUUID } from 'node:crypto';
import { closeSync, type Dirent, openSync, readSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { ReadUse } from '../cache/settings.ts';
import { TempoError } from '../lib/errors.ts';
import { makeFolder } from './make-folder.ts';
import type { ObjectInfo, ObjectStore } from './objectstore.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

export class LocalStore implements ObjectStore {
  private readonly root: string;
  private readonly isWriter: boolean;

  /** @param isWriter false = nothing will be written there, and a folder that is not there is empty. */
  constructor(root: string, isWriter = true) {
    this.root = root;
    this.isWriter = isWriter;
  }

  async prepare(): Promise<void> {
    if (!this.isWriter) return void (await this.entries(''));
    try {
      makeFolder(this.root);
      await fs.access(this.root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    } catch (err) {
      throw new TempoError('unavailable', `folder of blocks ${this.root} cannot be written`, err);
    }
  }

  async listFolders(prefix: string): Promise<string[]> {
    return (await this.entries(prefix)).filter((e) => e.isDirectory()).map((e) => e.name);
  }

  async listObjects(prefix: string): Promise<string[]> {
    return (await this.entries(prefix)).filter((e) => e.isFile() && !isTemporary(e.name)).map((e) => e.name);
  }

  async stat(key: string): Promise<ObjectInfo> {
    const info = await this.attempt(key, () => fs.stat(this.file(key)));
    return { sizeBytes: info.size, modifiedMs: info.mtimeMs };
  }

  read(key: string): Promise<Uint8Array> {
    return this.attempt(key, () => fs.readFile(this.file(key)));
  }

  /**
   * Not by libuv's threads: it is called in scan threads, for many small ranges, and a hand-over costs ten
   * reads.
   */
  readRange(
    key: string,
    offset: number,
    lengthBytes: number,
    _signal?: AbortSignal,
    _use?: ReadUse,
    into?: Uint8Array,
  ): Promise<Uint8Array> {
    return this.attempt(key, async () => {
      const file = openSync(this.file(key), 'r');
      try {
        const bytes = into ?? new Uint8Array(lengthBytes);
        let filled = 0;
        while (filled < lengthBytes) {
          const count = readSync(file, bytes, filled, lengthBytes - filled, offset + filled);
          if (count === 0)
            throw new TempoError('block_corrupt', `${key} ends before byte ${offset + lengthBytes}`);
          filled += count;
        }
        return bytes;
      } finally {
        closeSync(file);
      }
    });
  }

  write(key: string, bytes: Uint8Array): Promise<void> {
    return this.place(key, async (temporary) => {
      const handle = await fs.open(temporary, 'w', FILE_MODE);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  writeFile(key: string, source: string): Promise<void> {
    return this.place(key, async (temporary) => {
      try {
        await fs.link(source, temporary);
      } catch {
        // Another device, or a file system without hard links.
        await fs.copyFile(source, temporary);
        await syncPath(temporary);
      }
    });
  }

  copy(from: string, to: string): Promise<void> {
    return this.place(to, async (temporary) => {
      await fs.copyFile(this.file(from), temporary);
      await syncPath(temporary);
    });
  }

  async delete(key: string): Promise<void> {
    await this.attempt(key, () => fs.rm(this.file(key), { force: true }));
  }

  async deleteFolder(prefix: string): Promise<void> {
    await this.attempt(prefix, () => fs.rm(this.file(prefix), { recursive: true, force: true }));
  }

  private file(key: string): string {
    if (key.split('/').some((part) => part === '..' || part === '.')) {
      throw new TempoError('invalid_argument', `object key ${key} leaves the store`);
    }
    return path.join(this.root, key);
  }

  private async entries(prefix: string): Promise<Dirent[]> {
    try {
      return await fs.readdir(this.file(prefix), { withFileTypes: true });
    } catch (err) {
      if (errorCode(err) === 'ENOENT') return [];
      throw storeError(prefix === '' ? this.root : prefix, err);
    }
  }

  /** Writes beside the target, then renames and syncs the folder. */
  private place(key: string, fill: (temporary: string) => Promise<void>): Promise<void> {
    return this.attempt(key, async () => {
      const target = this.file(key);
      const folder = path.dirname(target);
      await fs.mkdir(folder, { recursive: true, mode: FOLDER_MODE });
      const temporary = path.join(folder, `${TEMPORARY_PREFIX}${randomUUID()}`);
      try {
        await fill(temporary);
        await fs.rename(temporary, target);
      } catch (err) {
        await fs.rm(temporary, { force: true });
        throw err;
      }
      await syncPath(folder);
    });
  }

  private async attempt<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      throw storeError(key, err);
    }
  }
}

const TEMPORARY_PREFIX = '.tmp-';

function isTemporary(name: string): boolean {
  return name.startsWith(TEMPORARY_PREFIX);
}

async function syncPath(target: string): Promise<void> {
  const handle = await fs.open(target, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function errorCode(err: unknown): string | undefined {
  return err instanceof Error && 'code' in err ? String(err.code) : undefined;
}

function storeError(key: string, err: unknown): TempoError {
  if (err instanceof TempoError) return err;
  const code = errorCode(err);
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new TempoError('not_found', `${key} does not exist`, err);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EROFS') {
    return new TempoError('unavailable', `cannot write ${key}`, err);
  }
  if (code === 'EMFILE' || code === 'ENFILE' || code === 'ENOMEM') {
    return new TempoError('unavailable', `${key} cannot be opened now: ${code}`, err);
  }
  return new TempoError('internal', `object ${key} failed`, err);
}
