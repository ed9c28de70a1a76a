// The query-frontend module's door.
export { QueryFrontend } from './module.ts';
