// Rings in etcd: a key each, with the bytes that others write too, changed by its version and watched. Loaded
// only where a ring is kept there.
import { type Clock, sleep } from '../lib/clock.ts';
import { TempoError } from '../lib/errors.ts';
import type { ClientTls } from '../rpc/client-tls.ts';
import { type GrpcClient, openGrpcClient } from '../rpc/grpc-client.ts';
import type { Logger } from '../telemetry/log.ts';
import { decodeRing, encodeRing } from './desc-codec.ts';
import {
  AUTHENTICATE_PATH,
  authenticateAnswer,
  authenticateRequest,
  putAnswer,
  putRequest,
  RANGE_PATH,
  rangeAnswer,
  rangeRequest,
  TXN_PATH,
  WATCH_PATH,
  watchAnswer,
  watchRequest,
} from './etcd-messages.ts';
import { EMPTY_RING, type RingDesc } from './instance.ts';
import type { RingChange, RingStore } from './kv.ts';

export interface EtcdOptions {
  readonly endpoints: readonly string[];
  readonly dialTimeoutMs: number;
  /** Tries of one call. */
  readonly maxRetries: number;
  readonly username: string;
  readonly password: string;
  readonly tls: ClientTls | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const PAUSE_MS_MIN = 100;
const PAUSE_MS_MAX = 5000;
/** Pauses of those that write one ring at once. */
const RACE_MS_MIN = 5;
const RACE_MS_MAX = 500;
const VALUE_BYTES_MAX = 16 * 1024 * 1024;
const DEFAULT_PORT = ':2379';

export class EtcdStore implements RingStore {
  readonly #options: EtcdOptions;
  readonly #clients: GrpcClient[] = [];
  readonly #stops = new Set<() => void>();
  #current = 0;
  /** What calls are made with, or asked for; undefined = etcd is to be asked. */
  #token: Promise<string> | undefined;
  #isClosed = false;

  constructor(options: EtcdOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { endpoints, tls } = this.#options;
    if (endpoints.length === 0) {
      throw new TempoError('invalid_argument', 'a ring in etcd needs kvstore.etcd.endpoints');
    }
    const reconnectMs = { min: PAUSE_MS_MIN, max: PAUSE_MS_MAX };
    for (const endpoint of endpoints) {
      this.#clients.push(await openGrpcClient({ address: addressOf(endpoint), tls, reconnectMs }));
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#stops) stop();
    for (const client of this.#clients) client.close();
  }

  async get(key: string): Promise<RingDesc | undefined> {
    const stored = rangeAnswer(await this.#call(RANGE_PATH, rangeRequest(key)));
    return stored === undefined ? undefined : decodeRing(stored.value, VALUE_BYTES_MAX);
  }

  async change(key: string, change: RingChange): Promise<void> {
    for (let tries = 0; tries < Math.max(1, this.#options.maxRetries); tries++) {
      const stored = rangeAnswer(await this.#call(RANGE_PATH, rangeRequest(key)));
      const current = stored === undefined ? undefined : decodeRing(stored.value, VALUE_BYTES_MAX);
      const changed = change(current);
      if (changed === undefined) return;
      const request = putRequest(key, encodeRing(changed), stored?.version ?? 0);
      if (putAnswer(await this.#call(TXN_PATH, request))) return;
      // Somebody was faster: their change is read, and made better. Many that began at once would stay in
      // step.
      const longestMs = Math.min(RACE_MS_MAX, RACE_MS_MIN * 2 ** tries);
      await sleep(this.#options.clock, Math.random() * longestMs);
    }
    throw new TempoError(
      'unavailable',
      `ring ${key} could not be changed in etcd: others wrote it all the time`,
    );
  }

  watch(key: string, listener: (desc: RingDesc) => void): () => void {
    let stop = (): void => {};
    const state = { isOver: false };
    const end = (): void => {
      state.isOver = true;
      this.#stops.delete(end);
      stop();
    };
    this.#stops.add(end);
    void this.#follow(key, listener, state, (cancel) => (stop = cancel));
    return end;
  }

  /** Again and again: a watch ends when its server does. */
  async #follow(
    key: string,
    listener: (desc: RingDesc) => void,
    state: { readonly isOver: boolean },
    cancelBy: (cancel: () => void) => void,
  ): Promise<void> {
    const { clock, logger } = this.#options;
    let pauseMs = PAUSE_MS_MIN;
    while (!state.isOver) {
      try {
        await this.#watchOnce(key, listener, cancelBy, () => (pauseMs = PAUSE_MS_MIN));
      } catch (err) {
        if (state.isOver) return;
        logger.warn('ring is not watched for a while', { key, err });
        this.#next();
      }
      if (state.isOver) return;
      await sleep(clock, pauseMs);
      pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
    }
  }

  async #watchOnce(
    key: string,
    listener: (desc: RingDesc) => void,
    cancelBy: (cancel: () => void) => void,
    worked: () => void,
  ): Promise<void> {
    const client = this.#client();
    const token = await this.#tokenBy(client);
    const call = client.duplex(WATCH_PATH, headersOf(token));
    cancelBy(() => call.cancel());
    try {
      await call.send(watchRequest(key));
      for await (const message of call.messages) {
        const { isCreated, isCancelled, values } = watchAnswer(message);
        if (isCancelled) {
          // Without more: its token may be one that etcd no longer knows, as after a restart.
          await this.#dropToken(token);
          return;
        }
        // What was written before the watch began, it does not tell.
        if (isCreated) listener((await this.get(key)) ?? EMPTY_RING);
        worked();
        const newest = values.at(-1);
        if (values.length > 0) {
          listener(newest === undefined ? EMPTY_RING : decodeRing(newest, VALUE_BYTES_MAX));
        }
      }
    } catch (err) {
      if (isUnauthenticated(err)) await this.#dropToken(token);
      throw err;
    } finally {
      call.cancel();
    }
  }

  async #call(path: string, request: Uint8Array): Promise<Uint8Array> {
    const { clock, dialTimeoutMs, maxRetries, endpoints } = this.#options;
    let failure: unknown;
    for (let tries = 0; tries < Math.max(1, maxRetries) && !this.#isClosed; tries++) {
      const client = this.#client();
      let token = '';
      try {
        token = await this.#tokenBy(client);
        return await client.unary(path, request, headersOf(token), { timeoutMs: dialTimeoutMs });
      } catch (err) {
        failure = err;
        if (isUnauthenticated(err)) await this.#dropToken(token);
        this.#next();
        await sleep(clock, Math.min(PAUSE_MS_MIN * 2 ** tries, PAUSE_MS_MAX));
      }
    }
    throw new TempoError('unavailable', `etcd at ${endpoints.join(',')} does not answer`, failure);
  }

  /** Asked for once by all that need it: etcd takes a tenth of a second of CPU to check a password. */
  async #tokenBy(client: GrpcClient): Promise<string> {
    const { username } = this.#options;
    if (username === '') return '';
    const asked = (this.#token ??= this.#authenticate(client));
    try {
      return await asked;
    } catch (err) {
      if (this.#token === asked) this.#token = undefined;
      throw err;
    }
  }

  async #authenticate(client: GrpcClient): Promise<string> {
    const { username, password, dialTimeoutMs } = this.#options;
    const request = authenticateRequest(username, password);
    const answer = await client.unary(AUTHENTICATE_PATH, request, {}, { timeoutMs: dialTimeoutMs });
    return authenticateAnswer(answer);
  }

  /** Others may have a new one already. */
  async #dropToken(token: string): Promise<void> {
    const current = this.#token;
    if ((await current?.catch(() => undefined)) !== token) return;
    if (this.#token === current) this.#token = undefined;
  }

  #client(): GrpcClient {
    const client = this.#clients[this.#current % this.#clients.length];
    if (client === undefined) throw new TempoError('unavailable', 'etcd has not been opened');
    return client;
  }

  /** The next server is asked from now on. */
  #next(): void {
    this.#current++;
  }
}

function isUnauthenticated(err: unknown): boolean {
  return err instanceof TempoError && err.code === 'unauthenticated';
}

function headersOf(token: string): Readonly<Record<string, string>> {
  return token === '' ? {} : { token };
}

/** Endpoints stand with and without scheme and port. */
function addressOf(endpoint: string): string {
  const bare = endpoint.replace(/^https?:\/\//, '').replace(/\/$/, '');
  return /:\d+$/.test(bare) ? bare : bare + DEFAULT_PORT;
}
