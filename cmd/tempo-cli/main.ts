#!/usr/bin/env node
// The tempo-cli program: commands over running servers.
import { Command, CommanderError } from 'commander';
import { compareCommand } from './compare.ts';

const EXIT_USAGE = 2;

const program = new Command('tempo-cli')
  .description('commands over running servers that answer as Grafana Tempo does')
  .exitOverride()
  .addCommand(compareCommand((code) => (process.exitCode = code)));

try {
  await program.parseAsync();
} catch (err) {
  if (err instanceof CommanderError) process.exit(err.exitCode === 0 ? 0 : EXIT_USAGE);
  process.stderr.write(`tempo-cli: ${err instanceof Error ? err.message : String(err)}\n`);
  process.exit(EXIT_USAGE);
}
