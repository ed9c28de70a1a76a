// Requests of the log that no builder survives: kept as files of their own, for whoever looks into it, and
// deleted by nobody.
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder } from '../../objectstore/make-folder.ts';
import { syncFolder } from '../../objectstore/sync-folder.ts';

const FILE_MODE = 0o600;

/**
 * Writes the body of a push, an ExportTraceServiceRequest, as `<folder>/<tenant>-<sequence>.otlp`. Durable
 * when it returns.
 * @returns the path.
 */
export function setAside(folder: string, tenant: string, sequence: number, body: Uint8Array): string {
  makeFolder(folder);
  const path = `${folder}/${tenant}-${sequence}.otlp`;
  const temporary = `${path}.tmp`;
  fs.writeFileSync(temporary, body, { mode: FILE_MODE, flush: true });
  fs.renameSync(temporary, path);
  syncFolder(folder);
  syncFolder(dirname(folder)); // it may be new
  return path;
}
