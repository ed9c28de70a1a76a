// The querier's side of one call to an ingester, which lasts: sessions of any number of queries share it.
import { errorOf } from '../../contracts/remote-query.ts';
import { TempoError } from '../../lib/errors.ts';
import type { DuplexClientCall, GrpcClient } from '../../rpc/grpc-client.ts';
import { decodeStructured } from '../../rpc/structured.ts';
import { PieceReader, PieceSender } from '../../rpc/structured-pieces.ts';
import {
  encodeToIngester,
  type FromIngester,
  type NamedJob,
  type OpenSession,
  RECENT_PATH,
  type ToIngester,
} from '../../store/recent-sessions.ts';
import type { ScanResult } from '../../store/scan-job.ts';
import { Silence } from './signs-of-life.ts';

/** Of messages that are not complete yet: what jobs answer. */
const MESSAGE_BYTES_MAX = 1 << 30;

/** An ingester left amid a query, which may be begun again without it. */
export class IngesterLostError extends TempoError {
  constructor(id: string, cause: unknown) {
    super('unavailable', `ingester ${id} left amid the query`, cause);
  }
}

type Listed = Extract<FromIngester, { kind: 'sources' }>;

export class IngesterLink {
  readonly #ingesterId: string;
  readonly #call: DuplexClientCall;
  readonly #sender: PieceSender;
  readonly #sessions = new Map<number, Session>();
  readonly #silence: Silence;
  #opened = 0;
  #lost: IngesterLostError | undefined;

  /** @param silent is told when the ingester says nothing although it has jobs, which ends the call. */
  constructor(ingesterId: string, client: GrpcClient, silent: () => void) {
    this.#ingesterId = ingesterId;
    // Of several tenants: it names none, which ingesters would hold it to.
    this.#call = client.duplex(RECENT_PATH, {});
    this.#sender = new PieceSender((piece) => this.#call.send(piece));
    this.#silence = new Silence(() => {
      silent();
      this.#lose(new TempoError('unavailable', 'it says nothing although it has jobs'));
      this.#call.cancel();
    });
    void this.#read();
  }

  /** The call is over: nothing can be asked any more. */
  get isOver(): boolean {
    return this.#lost !== undefined;
  }

  open(): Session {
    const number = ++this.#opened;
    const say = (message: ToIngester): Promise<void> => this.#say(message);
    const closed = (): void => void this.#sessions.delete(number);
    const session = new Session({
      number,
      ingesterId: this.#ingesterId,
      say,
      closed,
      silence: this.#silence,
    });
    if (this.#lost === undefined) this.#sessions.set(number, session);
    else session.lose(this.#lost);
    return session;
  }

  close(): void {
    this.#call.end();
  }

  async #say(message: ToIngester): Promise<void> {
    if (this.#lost === undefined) await this.#sender.say(encodeToIngester(message));
  }

  async #read(): Promise<void> {
    const reader = new PieceReader(MESSAGE_BYTES_MAX);
    let cause: unknown;
    try {
      for await (const piece of this.#call.messages) {
        this.#silence.heard();
        const bytes = reader.take(piece);
        if (bytes === undefined) continue;
        const said = decodeStructured(bytes) as FromIngester;
        this.#sessions.get(said.session)?.take(said);
      }
      this.#call.end();
    } catch (err) {
      cause = err;
      this.#call.cancel();
    }
    this.#lose(cause);
  }

  #lose(cause: unknown): void {
    this.#lost ??= new IngesterLostError(this.#ingesterId, cause);
    for (const session of this.#sessions.values()) session.lose(this.#lost);
    this.#sessions.clear();
  }
}

interface SessionOptions {
  readonly number: number;
  readonly ingesterId: string;
  readonly say: (message: ToIngester) => Promise<void>;
  readonly closed: () => void;
  readonly silence: Silence;
}

/** What one ingester says to one query. */
export class Session {
  readonly #number: number;
  readonly #ingesterId: string;
  readonly #say: (message: ToIngester) => Promise<void>;
  readonly #closed: () => void;
  readonly #silence: Silence;
  readonly #waiting = new Map<number, PromiseWithResolvers<ScanResult>>();
  readonly #listed = Promise.withResolvers<Listed>();
  #nextId = 0;
  #isOpen = false;
  #givesSigns = false;
  #lost: IngesterLostError | undefined;

  constructor({ number, ingesterId, say, closed, silence }: SessionOptions) {
    this.#number = number;
    this.#ingesterId = ingesterId;
    this.#say = say;
    this.#closed = closed;
    this.#silence = silence;
    this.#listed.promise.catch(() => undefined);
  }

  async open(
    asked: Omit<OpenSession, 'kind' | 'wantsSigns'>,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Listed> {
    signal?.throwIfAborted();
    const leave = (): void => this.#listed.reject(signal?.reason);
    const late = setTimeout(() => {
      this.#listed.reject(new TempoError('deadline_exceeded', `no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    signal?.addEventListener('abort', leave);
    try {
      this.#isOpen = true;
      // To one that stands still a message may never be sent: its time counts all the same.
      this.#say({ kind: 'open', session: this.#number, wantsSigns: true, ...asked }).catch((err: unknown) => {
        this.#listed.reject(err);
      });
      const listed = await this.#listed.promise;
      this.#givesSigns = listed.givesSigns === true;
      return listed;
    } finally {
      clearTimeout(late);
      signal?.removeEventListener('abort', leave);
    }
  }

  async run(job: NamedJob, signal: AbortSignal | undefined): Promise<ScanResult> {
    if (this.#lost !== undefined) throw this.#lost;
    signal?.throwIfAborted();
    const id = ++this.#nextId;
    const answer = Promise.withResolvers<ScanResult>();
    this.#waiting.set(id, answer);
    answer.promise.catch(() => undefined);
    const cancel = (): void => {
      answer.reject(signal?.reason ?? new TempoError('cancelled', 'the job is not needed'));
      this.#send({ kind: 'cancel', session: this.#number, id });
    };
    signal?.addEventListener('abort', cancel);
    if (this.#givesSigns) this.#silence.begin();
    try {
      this.#say({ kind: 'job', session: this.#number, id, job }).catch(answer.reject);
      return await answer.promise;
    } finally {
      if (this.#givesSigns) this.#silence.end();
      this.#waiting.delete(id);
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** The ingester lets go of what it holds for the query. */
  close(): void {
    this.#closed();
    this.#refuseAll(new TempoError('cancelled', 'the query is over'));
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#send({ kind: 'end', session: this.#number });
  }

  take(said: FromIngester): void {
    if (said.kind === 'alive') return;
    if (said.kind === 'sources') this.#listed.resolve(said);
    else if (said.kind === 'result') this.#waiting.get(said.id)?.resolve(said.result);
    else if (said.id === undefined) this.#listed.reject(errorOf(said.failure));
    else {
      const err = errorOf(said.failure);
      const isLost = said.isLeaving === true;
      this.#waiting.get(said.id)?.reject(isLost ? new IngesterLostError(this.#ingesterId, err) : err);
    }
  }

  lose(err: IngesterLostError): void {
    this.#lost = err;
    this.#isOpen = false;
    this.#refuseAll(err);
  }

  #refuseAll(err: TempoError): void {
    this.#listed.reject(err);
    for (const answer of this.#waiting.values()) answer.reject(err);
  }

  /** What cannot be sent is told by the end of the call. */
  #send(message: ToIngester): void {
    if (this.#lost === undefined) this.#say(message).catch(() => undefined);
  }
}
