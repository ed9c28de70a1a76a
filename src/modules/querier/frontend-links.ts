// A querier of its own process: it calls the query-frontends that it finds by DNS, and does what they ask on
// the streams that it opens. Requests of HTTP come from Grafana Tempo's, whole queries from ours.
import {
  FEATURES,
  type HttpGrpcRequest,
  type HttpGrpcResponse,
  PROCESS_PATH,
  type QuerierMessage,
  querierMessage,
  readFrontendMessage,
  SHUTDOWN_PATH,
  shutdownRequest,
} from '../../contracts/httpgrpc.ts';
import { frameResponses, TIME_IS_UP_URL, WHOLE_QUERY_URL } from '../../contracts/remote-query.ts';
import type { Querier } from '../../contracts/query.ts';
import { TempoError, TimeIsUpError } from '../../lib/errors.ts';
import type { Service } from '../../lib/service.ts';
import {
  type DuplexClientCall,
  type GrpcClient,
  type GrpcClientOptions,
  openGrpcClient,
} from '../../rpc/grpc-client.ts';
import { resolveAll } from '../../rpc/resolve.ts';
import type { Logger } from '../../telemetry/log.ts';
import { answerWholeQuery } from './whole-queries.ts';

export interface FrontendLinksOptions {
  /** `host:port`; every address behind the host is a query-frontend. */
  readonly address: string;
  readonly lookupMs: number;
  /** Streams of all query-frontends together; undefined = as many of each as `parallelism` says. */
  readonly concurrentMax: number | undefined;
  readonly parallelism: number;
  readonly clientId: string;
  readonly client: Omit<GrpcClientOptions, 'address'>;
  /** Larger answers of HTTP requests are refused. */
  readonly sendMessageBytesMax: number;
  /** After a stream that failed. */
  readonly backoffMs: { readonly min: number; readonly max: number };
  /** For what it works on when it stops. */
  readonly graceMs: number;
  readonly querier: Querier;
  /** Does a request of HTTP. */
  readonly http: (request: HttpGrpcRequest, signal: AbortSignal) => Promise<HttpGrpcResponse>;
  readonly logger: Logger;
}

/** Of all streams to one query-frontend. */
interface Peer {
  readonly address: string;
  readonly client: GrpcClient;
  isAway: boolean;
}

interface Link {
  readonly peer: Peer;
  readonly streams: FrontendStream[];
}

export class FrontendLinks implements Service {
  readonly name = 'querier';
  readonly #options: FrontendLinksOptions;
  readonly #links = new Map<string, Link>();
  /** Streams that take no more, until they have answered. */
  readonly #leaving = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopping = false;

  constructor(options: FrontendLinksOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.#look();
  }

  /** Tells the query-frontends, takes nothing more, and ends when what it works on is done. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#looking;
    const { clientId, graceMs, logger } = this.#options;
    await Promise.all(
      [...this.#links].map(async ([address, link]) => {
        const told = link.peer.client
          .unary(SHUTDOWN_PATH, shutdownRequest(clientId), {}, { timeoutMs: graceMs })
          .catch((err: unknown) =>
            logger.debug('a query-frontend was not told of the end', { address, err }),
          );
        await Promise.all([told, ...link.streams.map((stream) => stream.leave(graceMs))]);
        link.peer.client.close();
      }),
    );
    await Promise.all(this.#leaving);
  }

  async #look(): Promise<void> {
    const { address, lookupMs, logger } = this.#options;
    try {
      await this.#follow(await resolveAll(address));
    } catch (err) {
      logger.warn('query-frontends could not be found', { address, err });
    }
    if (this.#isStopping) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look();
    }, lookupMs);
  }

  async #follow(addresses: readonly string[]): Promise<void> {
    for (const [address, link] of this.#links) {
      if (addresses.includes(address)) continue;
      this.#links.delete(address);
      this.#letLeave(link.streams, () => link.peer.client.close());
    }
    for (const address of addresses) {
      if (this.#links.has(address) || this.#isStopping) continue;
      const client = await openGrpcClient({ ...this.#options.client, address });
      this.#links.set(address, { peer: { address, client, isAway: false }, streams: [] });
      this.#options.logger.info('asks a query-frontend for work', { address });
    }
    let at = 0;
    for (const { peer, streams } of this.#links.values()) {
      const count = this.#streamsOf(at++);
      this.#letLeave(streams.splice(count));
      while (streams.length < count) streams.push(new FrontendStream(this.#options, peer));
    }
  }

  #letLeave(streams: readonly FrontendStream[], over: () => void = () => undefined): void {
    const left = Promise.all(streams.map((stream) => stream.leave(this.#options.graceMs))).then(over);
    this.#leaving.add(left);
    void left.finally(() => this.#leaving.delete(left));
  }

  /** Of one query-frontend, by its place among all. */
  #streamsOf(at: number): number {
    const { concurrentMax, parallelism } = this.#options;
    if (concurrentMax === undefined) return Math.max(1, parallelism);
    const all = Math.max(1, this.#links.size);
    return Math.max(1, Math.floor(concurrentMax / all) + (at < concurrentMax % all ? 1 : 0));
  }
}

/** One stream after another to one query-frontend. */
class FrontendStream {
  readonly #options: FrontendLinksOptions;
  readonly #peer: Peer;
  readonly #ended: Promise<void>;
  #call: DuplexClientCall | undefined;
  /** Resolves when the last request is answered. */
  #working: Promise<void> = Promise.resolve();
  #work = new AbortController();
  #isLeaving = false;
  /** On this stream. */
  #hadWork = false;
  #wake = (): void => undefined;

  constructor(options: FrontendLinksOptions, peer: Peer) {
    this.#options = options;
    this.#peer = peer;
    this.#ended = this.#run();
  }

  /** Takes no more; resolves when it has answered, or the time is over. */
  async leave(graceMs: number): Promise<void> {
    this.#isLeaving = true;
    this.#wake();
    const late = setTimeout(() => this.#call?.cancel(), graceMs);
    await this.#working;
    this.#call?.end();
    await this.#ended;
    clearTimeout(late);
  }

  async #run(): Promise<void> {
    const { backoffMs } = this.#options;
    let pauseMs = backoffMs.min;
    while (!this.#isLeaving) {
      const beginMs = performance.now();
      let wasGivenUp = false;
      this.#hadWork = false;
      try {
        await this.#serve();
      } catch (err) {
        const isUsual = err instanceof TempoError && err.code === 'cancelled';
        wasGivenUp = isUsual && this.#hadWork;
        if (!isUsual) this.#tellFailure(err);
      }
      if (this.#isLeaving) return;
      // One that has lasted, or a query that was given up, is no failure.
      if (wasGivenUp || performance.now() - beginMs > backoffMs.max) pauseMs = backoffMs.min;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      pauseMs = Math.min(2 * pauseMs, backoffMs.max);
    }
  }

  /** Once for all streams until one of them is served again. */
  #tellFailure(err: unknown): void {
    const { address, isAway } = this.#peer;
    const { logger } = this.#options;
    if (isAway) return logger.debug('a stream to a query-frontend ended', { address, err });
    this.#peer.isAway = true;
    logger.warn('a query-frontend gives no work, tried again', { address, err });
  }

  #tellWork(): void {
    const { address, isAway } = this.#peer;
    if (isAway) this.#options.logger.info('a query-frontend gives work again', { address });
    this.#peer.isAway = false;
  }

  /** Until the stream ends. */
  async #serve(): Promise<void> {
    const call = this.#peer.client.duplex(PROCESS_PATH, {});
    this.#call = call;
    try {
      for await (const message of call.messages) {
        this.#tellWork();
        this.#take(call, message);
      }
    } finally {
      // Whoever asked has left.
      this.#work.abort(new TempoError('cancelled', 'the query-frontend does not wait for the answer'));
      this.#call = undefined;
      await this.#working;
    }
  }

  #take(call: DuplexClientCall, bytes: Uint8Array): void {
    const message = readFrontendMessage(bytes);
    if (message.kind === 'getId') {
      const features = FEATURES.batches | FEATURES.wholeQueries;
      void call.send(querierMessage({ clientId: this.#options.clientId, features }));
    } else if (message.kind === 'request' && message.request.url === TIME_IS_UP_URL) {
      this.#work.abort(new TimeIsUpError('query_frontend.api_timeout', 'the time of the query is over'));
    } else {
      const work = new AbortController();
      this.#hadWork = true;
      this.#work = work;
      this.#working = this.#answer(call, message, work.signal)
        .catch((err: unknown) => {
          const { address } = this.#peer;
          this.#options.logger.error('a request of a query-frontend failed', { address, err });
          call.cancel();
        })
        // What is held for the answer is let go of when its query is over.
        .finally(() => work.abort(new TempoError('cancelled', 'the query is answered')));
    }
  }

  async #answer(
    call: DuplexClientCall,
    message: Exclude<ReturnType<typeof readFrontendMessage>, { kind: 'getId' }>,
    signal: AbortSignal,
  ): Promise<void> {
    const say = (said: Partial<QuerierMessage>): Promise<void> => call.send(querierMessage(said));
    if (message.kind === 'batch') {
      const responses = await Promise.all(message.requests.map((request) => this.#http(request, signal)));
      return say({ responses });
    }
    const { request } = message;
    if (request.url !== WHOLE_QUERY_URL) return say({ response: await this.#http(request, signal) });
    await answerWholeQuery(this.#options.querier, request.body, signal, async (frame) => {
      for (const response of frameResponses(frame)) await say({ response });
    });
  }

  async #http(request: HttpGrpcRequest, signal: AbortSignal): Promise<HttpGrpcResponse> {
    const response = await this.#options.http(request, signal);
    const { sendMessageBytesMax: max } = this.#options;
    if (response.body.length < max) return response;
    const text = `response larger than the max message size (${response.body.length} vs ${max})`;
    return { code: 413, headers: [], body: Buffer.from(text) };
  }
}
