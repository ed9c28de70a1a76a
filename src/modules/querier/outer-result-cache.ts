// What jobs answered, in a cache outside the process: searches, parts of metrics queries, and tags, which the
// memory of this process has none of, as scan threads keep what they found.
import type { SearchJobResult } from '../../store/scan-job.ts';
import { PART_CODEC } from './metrics-part-bytes.ts';
import { type Outer, OuterAnswers } from './outer-answers.ts';
import { SEARCH_CODEC } from './result-bytes.ts';
import type { ResultCache } from './result-cache.ts';
import { TAGS_CODEC } from './tags-bytes.ts';

export class OuterResultCache implements ResultCache {
  readonly tags;
  readonly metrics;
  private readonly searches;

  /** @param local in this process; undefined = none. */
  constructor(outer: Outer, local: ResultCache | undefined) {
    this.searches = new OuterAnswers(outer, SEARCH_CODEC, local);
    this.metrics = new OuterAnswers(outer, PART_CODEC, local?.metrics);
    this.tags = new OuterAnswers(outer, TAGS_CODEC, undefined);
  }

  get(key: string): Promise<SearchJobResult | undefined> {
    return this.searches.get(key);
  }

  set(key: string, result: SearchJobResult): void {
    this.searches.set(key, result);
  }
}
