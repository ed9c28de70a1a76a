// Folders with all that lead to them, as `mkdir -p` makes them.
import * as fs from 'node:fs';
import * as path from 'node:path';

const FOLDER_MODE = 0o700;

/**
 * Node's own recursive mkdir never returns where a file system takes no folders and says "no such file", as
 * /proc does: no signal ends it. @throws the error of the first folder that cannot be made.
 */
export function makeFolder(folder: string): void {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !fs.existsSync(at); at = path.dirname(at)) missing.push(at);
  for (const at of missing.toReversed()) {
    try {
      fs.mkdirSync(at, { mode: FOLDER_MODE });
    } catch (err) {
      if (!(err instanceof Error && 'code' in err && err.code === 'EEXIST')) throw err;
    }
  }
  if (!fs.statSync(folder).isDirectory()) throw new Error(`${folder} is not a folder`);
}
