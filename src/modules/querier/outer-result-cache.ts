// Answers of jobs in a cache outside the process: as bytes of our own form, with a checksum, under names that
// nobody else uses; and in front of it, where it is wanted, the cache in this process.
import { createHash } from 'node:crypto';
import type { OuterCache } from '../../cache/outer-cache.ts';
import type { SearchJobResult } from '../../store/scan-job.ts';
import type { ResultCache } from './result-cache.ts';
import { OuterMetricsCache } from './outer-metrics-cache.ts';
import { OuterTagsCache } from './outer-tags-cache.ts';
import { decodeSearchResult, encodeSearchResult } from './result-bytes.ts';

/** Larger answers are not worth the way. */
const VALUE_BYTES_MAX = 1_000_000;
const ROLE = 'frontend-search';
/** Counts up when the same query over the same block is answered otherwise than before. */
const ANSWERS_VERSION = 1;

export class OuterResultCache implements ResultCache {
  private readonly outer: OuterCache;
  private readonly local: ResultCache | undefined;
  readonly tags: OuterTagsCache;
  readonly metrics: OuterMetricsCache;

  constructor(outer: OuterCache, local: ResultCache | undefined) {
    this.outer = outer;
    this.local = local;
    this.tags = new OuterTagsCache(outer);
    this.metrics = new OuterMetricsCache(outer, local?.metrics);
  }

  async get(key: string): Promise<SearchJobResult | undefined> {
    const near = await this.local?.get(key);
    if (near !== undefined) return near;
    const name = nameOf(key);
    const bytes = await this.outer.get(ROLE, name);
    const result = bytes === undefined ? undefined : decodeSearchResult(name, bytes);
    if (result !== undefined) this.local?.set(key, result);
    return result;
  }

  set(key: string, result: SearchJobResult): void {
    this.local?.set(key, result);
    const name = nameOf(key);
    const bytes = encodeSearchResult(name, result, VALUE_BYTES_MAX);
    if (bytes !== undefined) this.outer.set(name, bytes);
  }
}

function nameOf(key: string): string {
  return `tempo-ts:search${ANSWERS_VERSION}:${createHash('sha256').update(key).digest('base64url')}`;
}
