// The query-frontend module's door.
export { QueryFrontend, type QueryFrontendOptions } from './module.ts';
