// Makes the names in a folder durable: syncing a file does not.
import * as fs from 'node:fs';

export function syncFolder(path: string): void {
  const fd = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
