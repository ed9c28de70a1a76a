// The query-frontend module's door.
export { QueryFrontend, type QueryFrontendOptions } from './module.ts';
export { QuerierStreams } from './querier-streams.ts';
export { QueryQueue } from './query-queue.ts';
export { RemoteQuerier, type RemoteQuerierOptions } from './remote-querier.ts';
