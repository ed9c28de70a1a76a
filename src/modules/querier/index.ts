// The querier module's door.
export { ExternalTraces } from './external-traces.ts';
export { FrontendLinks } from './frontend-links.ts';
export { LocalQuerier } from './module.ts';
export { OuterResultCache } from './outer-result-cache.ts';
export { LocalResultCache, type ResultCache } from './result-cache.ts';
