// The compactor's door.
export { CompactionThread } from './compaction-thread.ts';
export { Compactor, type CompactorOptions } from './module.ts';
