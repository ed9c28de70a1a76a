// Reads the file of `overrides.per_tenant_override_config` at the start and again and again: a good one
// replaces the limits of all tenants, a bad one is told of and changes nothing.
import { createHash } from 'node:crypto';
import { ConfigError, problemLine } from '../config/errors.ts';
import type { Environment } from '../config/expand-env.ts';
import { TempoError } from '../lib/errors.ts';
import { readSmallFile } from '../rpc/read-small-file.ts';
import type { Service } from '../lib/service.ts';
import { NoThreadError, type StartThread } from '../lib/start-thread.ts';
import type { Overrides } from '../overrides/overrides.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Gauge, Metrics } from '../telemetry/metrics.ts';
import { OverridesReader } from './overrides-thread.ts';

export interface OverridesServiceOptions {
  readonly overrides: Overrides;
  /** Empty = no file. */
  readonly path: string;
  readonly periodMs: number;
  readonly env: Environment | undefined;
  /** Of ingesters. */
  readonly replicationFactor: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly startThread?: StartThread;
}

export interface OverridesService extends Service {
  /** Looks at the file now. Never rejects. */
  reload(): Promise<void>;
}

/** The one file that Tempo's metrics name. */
const CONFIG = 'overrides';
/** More than the nodes that a file of YAML may have need. */
const FILE_BYTES_MAX = 8 << 20;
/** In one line of the log. */
const PROBLEMS_MAX = 10;

export function createOverridesService(options: OverridesServiceOptions): OverridesService {
  return new OverridesFile(options);
}

class OverridesFile implements OverridesService {
  readonly name = 'overrides';
  readonly #options: OverridesServiceOptions;
  readonly #isGood: Gauge | undefined;
  readonly #hash: Gauge | undefined;
  readonly #reader: OverridesReader;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;
  #text: string | undefined;
  /** What could not be used the last time: reading a large file takes seconds. */
  #bad: { readonly text: string; readonly err: unknown } | undefined;
  /** What was told of the last time: it is told again when it changes. */
  #told = '';

  constructor(options: OverridesServiceOptions) {
    this.#options = options;
    this.#reader = new OverridesReader(options.startThread);
    if (options.path === '') return;
    this.#isGood = options.metrics.gauge(
      'tempo_runtime_config_last_reload_successful',
      'Whether the file of limits by tenant could be read the last time.',
      ['config'],
    );
    this.#hash = options.metrics.gauge(
      'tempo_runtime_config_hash',
      'Hash of the limits by tenant that are in use.',
      ['config', 'sha256'],
    );
  }

  /** Rejects when the file is bad: only later ones have a good one before them. */
  async start(): Promise<void> {
    const { path, periodMs } = this.#options;
    if (path === '') return;
    try {
      await this.#load();
    } catch (err) {
      if (err instanceof ConfigError) throw err;
      throw new TempoError(
        'unavailable',
        `overrides.per_tenant_override_config: ${path} cannot be read`,
        err,
      );
    }
    if (periodMs > 0) this.#timer = setInterval(() => void this.reload(), periodMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reader.stop();
  }

  async reload(): Promise<void> {
    // A file system that does not answer gets one thread, not one more each time.
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      await this.#load();
    } catch (err) {
      this.#isGood?.set({ config: CONFIG }, 0);
      const text = err instanceof ConfigError ? textOf(err) : String(err);
      if (text === this.#told) return;
      this.#told = text;
      const facts = { err: err instanceof ConfigError ? text : err };
      this.#options.logger.error('failed to load config, the limits stay as they are', facts);
    } finally {
      this.#isBusy = false;
    }
  }

  async #load(): Promise<void> {
    const text = await readSmallFile(this.#options.path, FILE_BYTES_MAX);
    if (text === this.#bad?.text) throw this.#bad.err;
    this.#bad = undefined;
    try {
      if (text !== this.#text) await this.#use(text);
    } catch (err) {
      // Without a thread nothing was found out about it.
      if (!(err instanceof NoThreadError)) this.#bad = { text, err };
      throw err;
    }
    this.#told = '';
    this.#isGood?.set({ config: CONFIG }, 1);
  }

  async #use(text: string): Promise<void> {
    const { path, env, replicationFactor, overrides, logger } = this.#options;
    const { tenants, warnings } = await this.#reader.load({ name: path, text, env, replicationFactor });
    overrides.replace(tenants);
    this.#text = text;
    for (const warning of warnings) {
      logger.warn('configuration warning', { detail: problemLine(warning) });
    }
    const sha256 = createHash('sha256').update(text).digest('hex');
    this.#hash?.reset();
    this.#hash?.set({ config: CONFIG, sha256 }, 1);
    logger.info('limits of tenants are loaded', { path, tenants: tenants.size });
  }
}

function textOf({ problems }: ConfigError): string {
  const more = problems.length - PROBLEMS_MAX;
  const shown = problems.slice(0, PROBLEMS_MAX).map(problemLine).join('; ');
  return more > 0 ? `${shown}; and ${more} more` : shown;
}
