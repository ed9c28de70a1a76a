// The compactor's door.
export { Compactor, type CompactorOptions } from './module.ts';
