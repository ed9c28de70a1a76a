// A builder thread on a machine that takes two seconds to begin it.
import { setTimeout as pause } from 'node:timers/promises';

await pause(2000);
await import('../../src/modules/ingester/builder-worker.ts');
