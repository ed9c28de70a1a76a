// The querier module's door.
export { LocalQuerier } from './module.ts';
