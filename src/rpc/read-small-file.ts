// Files that are read again and again while the process runs: whatever takes their place, no thread waits for
// it for ever and no memory is filled with it.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { TempoError } from '../lib/errors.ts';

/** @throws TempoError `invalid_argument` when it is no regular file or too large; else as `readFile` does. */
export async function readSmallFile(path: string, bytesMax: number): Promise<string> {
  // Opening a pipe would wait for its writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const info = await file.stat();
    if (info.isDirectory()) throw new TempoError('invalid_argument', `${path} is a folder`);
    if (!info.isFile()) throw new TempoError('invalid_argument', `${path} is not a regular file`);
    if (info.size > bytesMax) {
      throw new TempoError('invalid_argument', `${path} has ${info.size} bytes of at most ${bytesMax}`);
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
