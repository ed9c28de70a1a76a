#!/usr/bin/env node
// The tempo program: binds the process to src/app/run.ts. Compiled code is kept between runs, which takes
// a third off the time of a start; hence the late import.
import module from 'node:module';
import path from 'node:path';
import type * as Run from '../../src/app/run.ts';

// The allocator of glibc keeps what many threads have freed: without these it held 250 MB more after two
// minutes of load. It looks at them when a process begins, so this one begins again, under the same id.
// (1.14 million spans taken in, flushed and read: 9.3 s of CPU and 358 MB left with 4 MiB, 10.4 s and 299 MB
// with 128 KiB. With two arenas in place of four the same queries left 742 MiB and not 819, at the same CPU.)
const ALLOCATOR = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '4194304',
  MALLOC_TRIM_THRESHOLD_: '4194304',
};
// V8 marks the main thread's small heap whenever as much was allocated beside it: twice a second while
// searches are answered, at 35 ms each (a tenth of that with 128 MiB, and a sixth less CPU of that thread).
const HEAP = '--initial-old-space-size=128';
const isSet = Object.keys(ALLOCATOR).some((name) => process.env[name] !== undefined);
// By the environment, because threads look there, and for this file, which is read before the cache is on.
const root = path.resolve(import.meta.dirname, '../..');
process.env['NODE_COMPILE_CACHE'] ??= path.join(root, 'node_modules/.cache/tempo');
if (process.platform === 'linux' && !isSet) {
  const args = [process.execPath, ...process.execArgv, HEAP, ...process.argv.slice(1)];
  process.execve?.(process.execPath, args, { ...process.env, ...ALLOCATOR });
}
module.enableCompileCache(process.env['NODE_COMPILE_CACHE']);
const isSource = import.meta.filename.endsWith('.ts');
const { freshBundle } = await import('./bundle.ts');
const bundle = isSource && process.env['TEMPO_FROM_SOURCES'] === undefined ? freshBundle(root) : undefined;
const sources = (): Promise<typeof Run> => import('../../src/app/run.ts');
// A bundle of which a file is gone is none.
const { run, EXIT_FAILED } = await (bundle === undefined
  ? sources()
  : (import(bundle) as Promise<typeof Run>).catch((err: unknown) => {
      process.stderr.write(`tempo: the bundle cannot be loaded, so its sources are: ${String(err)}\n`);
      return sources();
    }));

const fatal = (err: unknown): void => {
  process.stderr.write(`fatal: ${err instanceof Error ? (err.stack ?? err.message) : String(err)}\n`);
  process.exit(EXIT_FAILED);
};
process.on('uncaughtException', fatal);
process.on('unhandledRejection', fatal);

const code = await run({
  args: process.argv.slice(2),
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  onSignal: (listener) => {
    process.on('SIGINT', listener);
    process.on('SIGTERM', listener);
  },
  exit: (exitCode) => process.exit(exitCode),
});
process.exit(code);
