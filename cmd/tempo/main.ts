// The tempo program: binds the process to src/app/run.ts.
import { run, EXIT_FAILED } from '../../src/app/run.ts';

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
