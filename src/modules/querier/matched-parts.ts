// What jobs in place tell of the parts of traces that have more elsewhere: which of them match.
import type { TimeRange } from '../../contracts/recent-traces.ts';
import type { QueryInput, SearchJobResult } from '../../store/scan-job.ts';
import { blockIdOf } from './plan.ts';
import type { WholeChoice } from './whole-choice.ts';

const MICROS_PER_SECOND = 1e6;
const NANOS_PER_MICRO = 1000;

export class MatchedParts {
  /** By block id; undefined = any trace may match. */
  private matched: Map<string, Set<number>> | undefined = new Map();

  /** @param result undefined = the job was not done. */
  add({ sources }: QueryInput, result: SearchJobResult | undefined): void {
    const [source] = sources;
    if (source === undefined) return;
    const isKnown = result?.matchedApart !== undefined && result.failures.length === 0;
    if (!isKnown) this.matched = undefined;
    if (!isKnown || this.matched === undefined) return;
    const id = blockIdOf(source);
    const rows = this.matched.get(id);
    if (rows === undefined) this.matched.set(id, new Set(result.matchedApart));
    else for (const row of result.matchedApart!) rows.add(row);
  }

  choice({ startSec, endSec }: TimeRange, notBeforeUnixNano: bigint | undefined): WholeChoice {
    return {
      fromMicros: startSec === undefined ? -Infinity : startSec * MICROS_PER_SECOND,
      toMicros: endSec === undefined ? Infinity : endSec * MICROS_PER_SECOND,
      oldestMicros: notBeforeUnixNano === undefined ? -Infinity : Number(notBeforeUnixNano) / NANOS_PER_MICRO,
      matched: this.matched,
    };
  }
}
