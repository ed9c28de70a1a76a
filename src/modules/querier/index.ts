// The querier module's door.
export { LocalQuerier, type QuerierOptions } from './module.ts';
