// Answers of jobs for tags in a cache outside the process, as JSON with a checksum, under names that nobody
// else uses. Memory of this process has none of them, as scan threads keep what they found.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { OuterCache } from '../../cache/outer-cache.ts';
import type { TagsJobResult } from '../../store/scan-job.ts';
import type { TagsCache } from './result-cache.ts';

/** Larger answers are not worth the way. */
const VALUE_BYTES_MAX = 1_000_000;
const ROLE = 'frontend-search';
/** Counts up when the same question about the same block is answered otherwise than before. */
const ANSWERS_VERSION = 1;
const CHECKSUM_BYTES = 4;

export class OuterTagsCache implements TagsCache {
  private readonly outer: OuterCache;

  constructor(outer: OuterCache) {
    this.outer = outer;
  }

  async get(key: string): Promise<TagsJobResult | undefined> {
    const name = nameOf(key);
    const bytes = await this.outer.get(ROLE, name);
    return bytes === undefined ? undefined : decodeTags(name, bytes);
  }

  set(key: string, result: TagsJobResult): void {
    const name = nameOf(key);
    const bytes = encodeTags(name, result);
    if (bytes.length <= VALUE_BYTES_MAX) this.outer.set(name, bytes);
  }
}

function nameOf(key: string): string {
  return `tempo-ts:tags${ANSWERS_VERSION}:${createHash('sha256').update(key).digest('base64url')}`;
}

function encodeTags(name: string, result: TagsJobResult): Uint8Array {
  const text = Buffer.from(JSON.stringify(result));
  const bytes = Buffer.alloc(CHECKSUM_BYTES + text.length);
  text.copy(bytes, CHECKSUM_BYTES);
  bytes.writeUInt32LE(crc32(text, crc32(name)));
  return bytes;
}

/** @returns undefined when these are not the bytes of the answer of that name. */
export function decodeTags(name: string, bytes: Uint8Array): TagsJobResult | undefined {
  if (bytes.length < CHECKSUM_BYTES) return undefined;
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = all.subarray(CHECKSUM_BYTES);
  if (all.readUInt32LE() !== crc32(text, crc32(name))) return undefined;
  return JSON.parse(text.toString()) as TagsJobResult;
}
