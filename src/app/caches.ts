// The caches that a configuration names: those for parts of blocks, which the thread of the object store has,
// and the one for answers, which is here.
import { type CacheReports, createCacheReports } from '../cache/cache-metrics.ts';
import { type OuterCache, openOuterCache } from '../cache/outer-cache.ts';
import { LocalResultCache, OuterResultCache, type ResultCache } from '../modules/querier/index.ts';
import type { OuterCacheOptions } from '../objectstore/remote-store.ts';
import type { CachedParts } from '../store/block-opener.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { blockCaches, cacheSettings } from './cache-settings.ts';
import type { TempoConfig } from './config.ts';

export interface Caches {
  readonly forBlocks: OuterCacheOptions;
  /** undefined = no cache is for parts of blocks. */
  readonly cachedParts: CachedParts | undefined;
  readonly results: ResultCache | undefined;
  readonly stop: () => void;
}

const REPORT_MS = 500;

export function createCaches(config: TempoConfig, logger: Logger, metrics: Metrics): Caches {
  const settings = cacheSettings(config);
  const forBlocks = blockCaches(settings);
  const reports = createCacheReports(metrics, logger.child({ module: 'cache' }));
  const { cacheMinCompactionLevel, cacheMaxBlockAgeMs } = config.storage.trace;
  const { resultCacheBytes } = config.queryFrontend.search;
  const local = resultCacheBytes > 0 ? new LocalResultCache(resultCacheBytes, metrics) : undefined;
  const ofAnswers = settings.find(({ roles }) => roles.includes('frontend-search'));
  const outer = ofAnswers === undefined ? undefined : openOuterCache(ofAnswers);
  const stopReporting = outer === undefined ? undefined : keepReporting(outer, reports);
  return {
    forBlocks: { settings: forBlocks, reports },
    cachedParts:
      forBlocks.length === 0
        ? undefined
        : { bloomLevelMax: cacheMinCompactionLevel, bloomAgeMsMax: cacheMaxBlockAgeMs },
    results: outer === undefined ? local : new OuterResultCache(outer, local),
    stop: () => {
      stopReporting?.();
      outer?.stop();
    },
  };
}

/** @returns what ends it. */
function keepReporting(outer: OuterCache, reports: CacheReports): () => void {
  const timer = setInterval(() => reports.add(outer.report()), REPORT_MS).unref();
  return () => clearInterval(timer);
}
