// How much memory the process may use, what of it is shared out, and whether that is enough for large
// answers.
import { totalmem } from 'node:os';
import { type MemoryBudget, memoryBudget } from '../lib/memory-budget.ts';
import { formatSize } from '../lib/size.ts';
import { largestAnswerBytes } from '../modules/querier/index.ts';
import type { TempoConfig } from './config.ts';
import { startOrder } from './graph.ts';

/** What the process takes with nothing to do, and the log ring; of a small budget at most a share. */
const BASE_BYTES = 224 * 1024 * 1024;
const BASE_SHARE_MAX = 0.5;
/** For answers of searches and metrics queries that are made or sent. */
const RESULTS_SHARE = 0.12;
/** One answer of a querier in another process is in memory twice while its pieces are put together. */
const REMOTE_ANSWER_SHARE = 1 / 3;
/**
 * Below it one answer after another of 80 MB was seen to take more than the budget: what a thread, the main
 * thread and the connection hold of an answer does not become less with it.
 */
const LARGE_ANSWERS_BYTES_MIN = 700 * 1024 * 1024;

export interface MemoryShares {
  /** Memory that the process may use. */
  readonly budgetBytes: number;
  /** What of it is left to share. */
  readonly sharedBytes: number;
}

export function shareMemory(config: TempoConfig): MemoryShares {
  const { bytes: budgetBytes } = budgetOf(config);
  return { budgetBytes, sharedBytes: sharedOf(budgetBytes) };
}

export function budgetOf({ memory }: TempoConfig): MemoryBudget {
  return memoryBudget({
    configuredBytes: memory.limit,
    constrainedBytes: process.constrainedMemory(),
    totalBytes: totalmem(),
    goMemLimit: process.env['GOMEMLIMIT'],
  });
}

export function resultBytesMax(sharedBytes: number): number {
  return Math.floor(sharedBytes * RESULTS_SHARE);
}

/** For a single one that comes from a querier of another process. */
export function remoteAnswerBytesMax(sharedBytes: number): number {
  return Math.floor(sharedBytes * REMOTE_ANSWER_SHARE);
}

/** Told where answers of searches are held that may be too large for the budget. */
export function memoryRisks(
  { queryFrontend: { search }, target }: TempoConfig,
  { bytes, from }: MemoryBudget,
): readonly (readonly [path: string, text: string])[] {
  const order = startOrder(target);
  const answers = order.includes('querier') || order.includes('query-frontend');
  if (bytes >= LARGE_ANSWERS_BYTES_MIN || !answers) return [];
  const { maxResultLimit, maxSpansPerSpanSet } = search;
  const shareBytes = resultBytesMax(sharedOf(bytes));
  if (largestAnswerBytes(maxResultLimit, maxSpansPerSpanSet) <= shareBytes) return [];
  const by = from === 'memory.limit' ? '' : ` by ${from}`;
  const text =
    `is ${inMib(bytes)}${by}: large answers, which have ${inMib(shareBytes)} of it, may take more ` +
    `than all: give it ${inMib(LARGE_ANSWERS_BYTES_MIN)}, or lower query_frontend.search.max_result_limit ` +
    `(${maxResultLimit}) and max_spans_per_span_set (${maxSpansPerSpanSet})`;
  return [['memory.limit', text]];
}

function sharedOf(budgetBytes: number): number {
  return budgetBytes - Math.min(BASE_BYTES, budgetBytes * BASE_SHARE_MAX);
}

function inMib(bytes: number): string {
  return formatSize(Math.floor(bytes / 1024 ** 2) * 1024 ** 2);
}
