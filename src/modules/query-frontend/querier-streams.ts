// frontend.Frontend: queriers of other processes call, and are given requests on the streams that they open.
// One request at a time on each; a request that nobody waits for any more ends its stream, which tells the
// querier.
import {
  FEATURES,
  frontendMessage,
  type HttpGrpcResponse,
  PROCESS_PATH,
  readQuerierMessage,
  readShutdownRequest,
  SHUTDOWN_PATH,
} from '../../contracts/httpgrpc.ts';
import { ALIVE_MS, isPart, TIME_IS_UP_URL } from '../../contracts/remote-query.ts';
import { TempoError, TimeIsUpError } from '../../lib/errors.ts';
import type { DuplexPeer, GrpcMethods } from '../../rpc/grpc-methods.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { QueryQueue } from './query-queue.ts';
import type { PendingRequest, QuerierSlot } from './queued-query.ts';

/** A querier that says nothing for so long while it works is taken for lost. */
const SILENCE_MS = 6 * ALIVE_MS;
/** For the answer of what was found, when the time of a query is over. */
const LAST_WORDS_MS = 2000;
const NOTHING = new Uint8Array(0);

export class QuerierStreams {
  readonly #queue: QueryQueue;
  readonly #logger: Logger;
  readonly #open = new Set<Stream>();

  constructor(queue: QueryQueue, logger: Logger) {
    this.#queue = queue;
    this.#logger = logger;
  }

  registerMethods(methods: GrpcMethods): void {
    methods.duplex(PROCESS_PATH, (peer) => this.#serve(peer));
    methods.unary(SHUTDOWN_PATH, ({ message }) => {
      this.#logger.info('a querier is leaving', { querier: readShutdownRequest(message) });
      return Promise.resolve(NOTHING);
    });
  }

  /** Ends all streams. */
  close(): void {
    for (const stream of this.#open) stream.close();
  }

  async #serve(peer: DuplexPeer): Promise<void> {
    const stream = new Stream(peer, this.#queue);
    this.#open.add(stream);
    try {
      await stream.run();
    } finally {
      this.#open.delete(stream);
    }
  }
}

class Stream implements QuerierSlot {
  clientId = '';
  knowsWhole = false;
  readonly #peer: DuplexPeer;
  readonly #queue: QueryQueue;
  readonly #closed = Promise.withResolvers<void>();
  #hasJoined = false;
  #current: PendingRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unwatch = (): void => undefined;
  /** Why its time is over; undefined = it is not. */
  #overdue: string | undefined;

  constructor(peer: DuplexPeer, queue: QueryQueue) {
    this.#peer = peer;
    this.#queue = queue;
  }

  async run(): Promise<void> {
    try {
      await Promise.race([this.#read(), this.#closed.promise]);
    } finally {
      if (this.#hasJoined) this.#queue.leave(this);
      this.#drop()?.lost(`querier ${this.clientId} has left`);
    }
  }

  close(err?: TempoError): void {
    if (err === undefined) this.#closed.resolve();
    else this.#closed.reject(err);
  }

  start(pending: PendingRequest): void {
    this.#current = pending;
    const { request, isWhole } = pending.asked;
    const { signal } = pending;
    const aborted = (): void => this.#aborted(pending);
    signal.addEventListener('abort', aborted);
    this.#unwatch = () => signal.removeEventListener('abort', aborted);
    this.#overdue = undefined;
    if (isWhole) this.#expectMore();
    // What cannot be sent is told by the end of the stream.
    this.#peer.send(frontendMessage({ kind: 'request', request })).catch(() => this.close());
  }

  async #read(): Promise<void> {
    await this.#peer.send(frontendMessage({ kind: 'getId' }));
    for await (const message of this.#peer.messages()) this.#heard(message);
  }

  /** A function of its own: the loop would keep the last answer while it waits for the next message. */
  #heard(message: Uint8Array): void {
    const said = readQuerierMessage(message);
    if (!this.#hasJoined) {
      this.clientId = said.clientId;
      this.knowsWhole = (said.features & FEATURES.wholeQueries) !== 0;
      this.#hasJoined = true;
      return this.#queue.join(this);
    }
    const pending = this.#current;
    if (pending === undefined || said.response === undefined) return;
    // A sign of life makes no answer that is overdue come: parts of it do.
    const counts = this.#overdue === undefined || isPart(said.response);
    if (pending.asked.isWhole && counts) this.#expectMore();
    if (!this.#took(pending, said.response)) return;
    this.#drop();
    pending.finished();
    this.#queue.free(this);
  }

  /** @returns whether that was all. */
  #took(pending: PendingRequest, response: HttpGrpcResponse): boolean {
    try {
      return pending.received(response);
    } catch (err) {
      this.#drop();
      pending.failed(err);
      // What else it says is about that request.
      this.close(new TempoError('cancelled', 'the answer is of no use'));
      return false;
    }
  }

  /** What it works on, of which nothing more is expected. */
  #drop(): PendingRequest | undefined {
    const pending = this.#current;
    this.#current = undefined;
    clearTimeout(this.#timer);
    this.#unwatch();
    // A stream that is idle would keep the last answer.
    this.#unwatch = () => undefined;
    return pending;
  }

  #expectMore(): void {
    const reason = this.#overdue;
    if (reason === undefined) this.#expect(SILENCE_MS, 'it is silent');
    else this.#expect(LAST_WORDS_MS, reason);
  }

  #expect(ms: number, reason: string): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#drop()?.lost(`querier ${this.clientId}: ${reason}`);
      this.close(new TempoError('cancelled', `the querier is given up: ${reason}`));
    }, ms);
  }

  #aborted(pending: PendingRequest): void {
    const reason: unknown = pending.signal.reason;
    if (pending.asked.isWhole && reason instanceof TimeIsUpError) {
      const request = { method: 'POST', url: TIME_IS_UP_URL, headers: [], body: NOTHING };
      this.#peer.send(frontendMessage({ kind: 'request', request })).catch(() => this.close());
      this.#overdue = reason.message;
      return this.#expectMore();
    }
    this.#drop();
    pending.failed(reason);
    this.close(new TempoError('cancelled', 'nobody waits for the answer'));
  }
}
