// The querier module's door.
export { ExternalTraces } from './external-traces.ts';
export { LocalQuerier } from './module.ts';
export { LocalResultCache } from './result-cache.ts';
