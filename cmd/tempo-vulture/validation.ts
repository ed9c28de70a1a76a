// The validation mode: writes a few traces, reads each back by id, by search and by metrics, and ends.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../src/telemetry/log.ts';
import { type Check, checkById, checkMetrics, checkTagSearch, checkTraceqlSearch } from './checks.ts';
import { type KnownTrace, knownTrace } from './known-trace.ts';
import type { VultureOptions } from './options.ts';
import type { Vulture } from './vulture.ts';

/** Between attempts to find a trace that is not there yet. */
const RETRY_MS = 1000;

/** @returns true when every trace was found in every way before the timeout. */
export async function validate(vulture: Vulture, options: VultureOptions, logger: Logger): Promise<boolean> {
  const signal = AbortSignal.timeout(options.validationTimeoutMs);
  const checks: readonly Check[] = [
    checkById,
    ...(options.searchBackoffMs > 0 ? [checkTagSearch, checkTraceqlSearch] : []),
    ...(options.metricsBackoffMs > 0 ? [checkMetrics] : []),
  ];
  let passed = 0;
  for (let cycle = 0; cycle < options.validationCycles; cycle++) {
    const trace = knownTrace(Date.now() + cycle, options.tenant);
    if (signal.aborted || !(await vulture.write(trace, new AbortController().signal, 0))) continue;
    const results: boolean[] = [];
    for (const check of checks) results.push(await found(vulture, check, trace, signal));
    if (!results.includes(false)) passed++;
  }
  const failed = options.validationCycles - passed;
  logger.info('validation completed', { traces: options.validationCycles, passed, failed });
  return failed === 0;
}

/** Tries until the trace is found or the time is over. */
async function found(
  vulture: Vulture,
  check: Check,
  trace: KnownTrace,
  signal: AbortSignal,
): Promise<boolean> {
  while ((await vulture.check(check, trace)) !== undefined) {
    if (signal.aborted) return false;
    await sleep(RETRY_MS);
  }
  return true;
}
