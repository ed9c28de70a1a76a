// What queriers say of one query: each that begins it is read for itself, and what is found so far is passed
// on of one at a time, so that it grows only.
import type { HttpGrpcResponse } from '../../contracts/httpgrpc.ts';
import {
  type AnswerFrame,
  errorOf,
  FrameReader,
  type RemoteAnswers,
  type RemoteProgress,
  type RemoteQuery,
} from '../../contracts/remote-query.ts';
import type { AnswerLedger, HeldAnswer } from './answer-ledger.ts';
import type { Answered, AnswerReader } from './queued-query.ts';

type Kind = RemoteQuery['kind'];

export class AnswerReaders<K extends Kind> {
  readonly #ledger: AnswerLedger;
  readonly #tell: ((found: RemoteProgress[K]) => void) | undefined;
  /** Whose progress is passed on. */
  #teller: Reader<K> | undefined;
  /** How far those were that told before. */
  #toldBytes = 0;
  readonly #held: HeldAnswer[] = [];

  /** @param tell gets what is found so far; undefined = nobody wants to know. */
  constructor(ledger: AnswerLedger, tell: ((found: RemoteProgress[K]) => void) | undefined) {
    this.#ledger = ledger;
    this.#tell = tell;
  }

  /** Of a querier that begins the query. */
  begin(): AnswerReader<RemoteAnswers[K]> {
    const held = this.#ledger.open();
    this.#held.push(held);
    return new Reader<K>(held, {
      progress: (reader, found) => this.#progress(reader, found),
      ended: (reader) => this.#ended(reader),
      givenUp: (reader) => this.#givenUp(reader),
    });
  }

  /** Nothing of what was said is of use any more. */
  letGo(): void {
    for (const held of this.#held) held.dropAll();
  }

  #progress(reader: Reader<K>, found: RemoteProgress[K]): void {
    // What another one found in the meantime is in its answer.
    if (this.#tell === undefined || (this.#teller ?? reader) !== reader) return;
    const bytes = inspectedBytesOf(found);
    if (this.#teller === undefined && bytes < this.#toldBytes) return;
    this.#teller = reader;
    reader.hasTold = true;
    this.#toldBytes = bytes;
    this.#tell(found);
  }

  /** Others may go on, where it lacks something. */
  #ended(reader: Reader<K>): void {
    if (this.#teller === reader) this.#teller = undefined;
  }

  #givenUp(reader: Reader<K>): void {
    this.#ended(reader);
    // What it told may be on its way to the client still; its answer is not.
    if (reader.hasTold) reader.dropAnswer();
    else reader.held.dropAll();
  }
}

interface Readers<K extends Kind> {
  progress(reader: Reader<K>, found: RemoteProgress[K]): void;
  /** It has said all. */
  ended(reader: Reader<K>): void;
  givenUp(reader: Reader<K>): void;
}

class Reader<K extends Kind> implements AnswerReader<RemoteAnswers[K]> {
  readonly held: HeldAnswer;
  /** Progress of it was passed on. */
  hasTold = false;
  readonly #readers: Readers<K>;
  readonly #frames: FrameReader;
  #last: Extract<AnswerFrame<K>, { readonly kind: 'answer' | 'failure' }> | undefined;
  /** Of the frame that comes in, or of the last one. */
  #frameBytes = 0;
  /** Of the newest progress with all series so far, and of the largest one before. */
  #newestBytes = 0;
  #olderBytes = 0;

  constructor(held: HeldAnswer, readers: Readers<K>) {
    this.held = held;
    this.#readers = readers;
    this.#frames = new FrameReader((bytes) => {
      held.hold(bytes);
      this.#frameBytes += bytes;
    });
  }

  received(response: HttpGrpcResponse): boolean {
    const frame = this.#frames.take(response) as AnswerFrame<K> | undefined;
    if (frame === undefined) return false;
    if (frame.kind === 'answer' || frame.kind === 'failure') {
      this.#last = frame;
      this.#readers.ended(this);
      return true;
    }
    const bytes = this.#frameBytes;
    this.#frameBytes = 0;
    if (frame.kind === 'progress') {
      this.#readers.progress(this, frame.progress);
      if ('series' in frame.progress) this.held.drop(frame.progress.series ? this.#replaced(bytes) : bytes);
    }
    return false;
  }

  /** Nobody gets the answer, or what came of it. */
  dropAnswer(): void {
    this.held.drop(this.#frameBytes);
    this.#frameBytes = 0;
  }

  /**
   * Nobody has use for series that were told before, but that those of one frame may be on their way to the
   * client. @returns bytes of which nothing is kept.
   */
  #replaced(bytes: number): number {
    const dropped = Math.min(this.#newestBytes, this.#olderBytes);
    this.#olderBytes = Math.max(this.#newestBytes, this.#olderBytes);
    this.#newestBytes = bytes;
    return dropped;
  }

  answer(): Answered<RemoteAnswers[K]> {
    if (this.#last === undefined) throw new Error('a querier said all and gave no answer');
    if (this.#last.kind === 'failure') throw errorOf(this.#last.failure);
    const { answer } = this.#last;
    return { answer, isComplete: answer.partial.length === 0, inspectedBytes: inspectedBytesOf(answer) };
  }

  givenUp(): void {
    this.#readers.givenUp(this);
  }
}

function inspectedBytesOf(found: RemoteProgress[Kind] | RemoteAnswers[Kind]): number {
  return 'stats' in found ? found.stats.inspectedBytes : found.inspectedBytes;
}
