// The querier module's door.
export { LocalQuerier } from './module.ts';
export { LocalResultCache } from './result-cache.ts';
