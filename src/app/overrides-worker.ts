// The thread that reads one file of limits by tenant: thousands of them take seconds, in which nobody could
// be served.
import { parentPort, workerData } from 'node:worker_threads';
import { ConfigError } from '../config/errors.ts';
import { loadTenants, type TenantsFile } from '../overrides/tenants.ts';
import type { FromOverridesWorker } from './overrides-thread.ts';

/** Taking over that many holds the main thread up for a millisecond. */
const TENANTS_A_MESSAGE = 100;

const port = parentPort;
if (port === null) throw new Error('overrides-worker runs only as a worker thread');
const post = (message: FromOverridesWorker): void => port.postMessage(message);

try {
  const { tenants, warnings } = loadTenants(workerData as TenantsFile);
  const entries = [...tenants];
  for (let i = 0; i < entries.length; i += TENANTS_A_MESSAGE) {
    post({ kind: 'tenants', entries: entries.slice(i, i + TENANTS_A_MESSAGE) });
  }
  post({ kind: 'done', warnings });
} catch (err) {
  if (!(err instanceof ConfigError)) throw err;
  post({ kind: 'failed', problems: err.problems });
}
