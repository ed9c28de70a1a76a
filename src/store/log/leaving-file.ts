// A file beside the log that tells that the ingester is to go for good at its next stop: who is killed before
// that does not forget it.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync } from 'node:fs';
import path from 'node:path';

const NAME = 'leaving';

export function hasLeavingFile(walPath: string): boolean {
  return existsSync(path.join(walPath, NAME));
}

/** Synced: whoever was told of it relies on it. */
export function keepLeavingFile(walPath: string, isKept: boolean): void {
  mkdirSync(walPath, { recursive: true });
  const file = path.join(walPath, NAME);
  if (isKept) closeSync(openSync(file, 'w'));
  else rmSync(file, { force: true });
  const folder = openSync(walPath, 'r');
  fsyncSync(folder);
  closeSync(folder);
}
