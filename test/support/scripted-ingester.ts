// An ingester that a test has say what it wants to what a querier says, without a socket.
import { TempoError } from '../../src/lib/errors.ts';
import type { Awaited } from '../../src/ring/ring.ts';
import type { DuplexClientCall, GrpcClient } from '../../src/rpc/grpc-client.ts';
import { encodeStructured } from '../../src/rpc/structured.ts';
import { PieceReader, PieceSender } from '../../src/rpc/structured-pieces.ts';
import { decodeToIngester, type FromIngester, type ToIngester } from '../../src/store/recent-sessions.ts';

type Answer = (said: ToIngester) => readonly FromIngester[];

const MESSAGE_BYTES_MAX = 1 << 20;

/** Of so many ingesters, of which some may be missing, counts who has answered. */
export function countOf(count: number, missingMax: number): Awaited {
  let missing = count;
  return {
    answered: () => void missing--,
    get isWhole() {
      return missing <= missingMax;
    },
  };
}

export class ScriptedIngester implements GrpcClient {
  /** Of all calls, in the order in which it came. */
  readonly heard: ToIngester[] = [];
  calls = 0;
  isClosed = false;
  /** Nothing can be sent to it, nothing comes from it. */
  isStuck = false;
  readonly #answer: Answer;
  #call: ScriptedCall | undefined;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  unary(): Promise<Uint8Array> {
    return Promise.reject(new Error('nobody asks for a single message'));
  }

  duplex(): DuplexClientCall {
    this.calls++;
    const reader = new PieceReader(MESSAGE_BYTES_MAX);
    const call = new ScriptedCall(async (piece) => {
      if (this.isStuck) return new Promise(() => undefined);
      const said = decodeToIngester(reader.take(piece)!);
      this.heard.push(said);
      for (const message of this.#answer(said)) call.say(message);
    });
    this.#call = call;
    return call;
  }

  /** In the last call, without being asked. */
  say(message: FromIngester): void {
    this.#call!.say(message);
  }

  /** Ends the last call, as a process that is gone. */
  leave(): void {
    this.#call!.leave(new TempoError('unavailable', 'connection reset'));
  }

  close(): void {
    this.isClosed = true;
  }
}

class ScriptedCall implements DuplexClientCall {
  readonly send: (piece: Uint8Array) => Promise<void>;
  readonly messages: AsyncIterable<Uint8Array>;
  readonly #sender: PieceSender;
  readonly #pieces: Uint8Array[] = [];
  #failure: TempoError | undefined;
  #wake = (): void => undefined;

  constructor(send: (piece: Uint8Array) => Promise<void>) {
    this.send = send;
    this.messages = this.#read();
    this.#sender = new PieceSender(async (piece) => {
      this.#pieces.push(piece);
      this.#wake();
    });
  }

  say(message: FromIngester): void {
    void this.#sender.say(encodeStructured(message));
  }

  leave(failure: TempoError): void {
    this.#failure = failure;
    this.#wake();
  }

  end(): void {}

  cancel(): void {
    this.leave(new TempoError('cancelled', 'the call is cancelled'));
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      yield* this.#pieces.splice(0);
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** The answer of one that has these sources. */
export function listing(
  { session }: ToIngester,
  sources: Extract<FromIngester, { kind: 'sources' }>['sources'],
  givesSigns = false,
): FromIngester {
  return { kind: 'sources', session, sources, complete: true, partial: [], givesSigns };
}
