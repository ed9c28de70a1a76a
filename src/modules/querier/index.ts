// The querier module's door.
export { ClosableQuerier } from './closable-querier.ts';
export { ExternalTraces } from './external-traces.ts';
export { FrontendLinks } from './frontend-links.ts';
export { LocalQuerier, type QuerierOptions } from './module.ts';
export { addRecentMethods } from './recent-server.ts';
export { largestAnswerBytes } from './plan.ts';
export { PatientQuerier } from './patient-querier.ts';
export { RemoteRecents } from './remote-recents.ts';
export { OuterResultCache } from './outer-result-cache.ts';
export { LocalResultCache, type ResultCache } from './result-cache.ts';
