// The main thread's end of the thread that reads the file of limits by tenant.
import type { Worker } from 'node:worker_threads';
import { ConfigError, type Problem } from '../config/errors.ts';
import { TempoError } from '../lib/errors.ts';
import { type StartThread, startThread } from '../lib/start-thread.ts';
import { workerUrl } from '../lib/worker-url.ts';
import type { Limits } from '../overrides/limits.ts';
import { loadTenants, type LoadedTenants, type TenantsFile } from '../overrides/tenants.ts';

export type FromOverridesWorker =
  | { readonly kind: 'tenants'; readonly entries: readonly (readonly [tenant: string, limits: Limits])[] }
  | { readonly kind: 'done'; readonly warnings: readonly Problem[] }
  | { readonly kind: 'failed'; readonly problems: readonly Problem[] };

/** A smaller file is read sooner than a thread begins. */
const THREAD_FROM_LENGTH = 16_384;

export class OverridesReader {
  readonly #startThread: StartThread;
  #worker: Worker | undefined;

  constructor(start: StartThread = startThread) {
    this.#startThread = start;
  }

  /** Rejects with ConfigError, which has every problem found. One file at a time. */
  async load(file: TenantsFile): Promise<LoadedTenants> {
    if (file.text.length < THREAD_FROM_LENGTH) return loadTenants(file);
    const worker = this.#startThread(workerUrl('overrides-worker', import.meta.url), {
      // A copy: environments are objects of another kind.
      workerData: { ...file, env: file.env === undefined ? undefined : { ...file.env } },
      name: 'overrides',
    });
    this.#worker = worker;
    const tenants = new Map<string, Limits>();
    try {
      return await new Promise((resolve, reject) => {
        worker.on('message', (message: FromOverridesWorker) => {
          if (message.kind === 'tenants') {
            for (const [tenant, limits] of message.entries) tenants.set(tenant, limits);
          } else if (message.kind === 'failed') reject(new ConfigError(message.problems));
          else resolve({ tenants, warnings: message.warnings });
        });
        worker.on('error', reject);
        worker.on('exit', () =>
          reject(new TempoError('unavailable', 'the thread that reads the limits ended')),
        );
      });
    } finally {
      this.#worker = undefined;
    }
  }

  async stop(): Promise<void> {
    await this.#worker?.terminate();
  }
}
