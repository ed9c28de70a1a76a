// Answers of one kind in a cache outside the process: under names that nobody else uses, with a checksum, and
// in front of it, where it is wanted, the cache in this process. What the bytes mean is for their codec.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { OuterCache } from '../../cache/outer-cache.ts';
import type { AnswerCache } from './result-cache.ts';

export interface AnswerCodec<Answer> {
  /** In the names of what it encodes. */
  readonly kind: string;
  /** Counts up when the same question about the same block is answered otherwise than before. */
  readonly version: number;
  /** What lies one behind the other, little-endian. */
  encode(answer: Answer): readonly ArrayBufferView[];
  /** @returns undefined when these are not the bytes of such an answer. */
  decode(bytes: Uint8Array): Answer | undefined;
}

/** What is asked of the cache outside. */
export type Outer = Pick<OuterCache, 'get' | 'set'>;

/** Larger answers are not worth the way. */
const VALUE_BYTES_MAX = 1_000_000;
const ROLE = 'frontend-search';
const CHECKSUM_BYTES = 4;

export class OuterAnswers<Answer> implements AnswerCache<Answer> {
  private readonly outer: Outer;
  private readonly codec: AnswerCodec<Answer>;
  private readonly near: AnswerCache<Answer> | undefined;

  /** @param near in this process; undefined = none. */
  constructor(outer: Outer, codec: AnswerCodec<Answer>, near: AnswerCache<Answer> | undefined) {
    this.outer = outer;
    this.codec = codec;
    this.near = near;
  }

  async get(key: string): Promise<Answer | undefined> {
    const near = await this.near?.get(key);
    if (near !== undefined) return near;
    const name = this.nameOf(key);
    const bytes = await this.outer.get(ROLE, name);
    const answer = bytes === undefined ? undefined : decodeAnswer(this.codec, name, bytes);
    if (answer !== undefined) this.near?.set(key, answer);
    return answer;
  }

  set(key: string, answer: Answer): void {
    this.near?.set(key, answer);
    const name = this.nameOf(key);
    const bytes = encodeAnswer(this.codec, name, answer);
    if (bytes !== undefined) this.outer.set(name, bytes);
  }

  private nameOf(key: string): string {
    const { kind, version } = this.codec;
    return `tempo-ts:${kind}${version}:${createHash('sha256').update(key).digest('base64url')}`;
  }
}

/** @returns undefined when it is too large. */
export function encodeAnswer<Answer>(
  codec: AnswerCodec<Answer>,
  name: string,
  answer: Answer,
): Uint8Array | undefined {
  const parts = codec.encode(answer);
  const size = parts.reduce((sum, { byteLength }) => sum + byteLength, CHECKSUM_BYTES);
  if (size > VALUE_BYTES_MAX) return undefined;
  const bytes = Buffer.alloc(size);
  let at = CHECKSUM_BYTES;
  for (const { buffer, byteOffset, byteLength } of parts) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  bytes.writeUInt32LE(checksumOf(name, bytes));
  return bytes;
}

/** @returns undefined when these are not the bytes of the answer of that name. */
export function decodeAnswer<Answer>(
  codec: AnswerCodec<Answer>,
  name: string,
  stored: Uint8Array,
): Answer | undefined {
  if (stored.length < CHECKSUM_BYTES) return undefined;
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  if (bytes.readUInt32LE() !== checksumOf(name, bytes)) return undefined;
  return codec.decode(bytes.subarray(CHECKSUM_BYTES));
}

function checksumOf(name: string, bytes: Uint8Array): number {
  return crc32(bytes.subarray(CHECKSUM_BYTES), crc32(name));
}
