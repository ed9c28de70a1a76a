// What the processes of `npm run cluster` take while nobody asks for anything. It fails where one takes more
// than a per cent of a core. Linux only, on a machine that does nothing else.
// npm run bench:idle -- [--after 35] [--seconds 60]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Cluster } from '../faults/cluster.ts';
import { idleFor } from '../support/idle.ts';
import { markdownTable } from './table.ts';

const CPU_PERCENT_MAX = 1;

const { values: flags } = parseArgs({
  options: {
    /** Since all are ready: code that has just been loaded is slow, and memory is given back. */
    after: { type: 'string', default: '35' },
    seconds: { type: 'string', default: '60' },
  },
});

const folder = mkdtempSync(path.join(tmpdir(), 'idle-'));
const cluster = await Cluster.create(folder, { isUnhurried: true });
try {
  await cluster.startAll();
  await pause(Number(flags.after) * 1000);
  const { names } = cluster;
  const pids = names.map((name) => cluster.at(name).pid);
  const idle = await idleFor(Number(flags.seconds) * 1000, pids);
  const rows = idle.map(({ cpuPercent, wakes }, i) => [names[i]!, cpuPercent.toFixed(2), wakes.toFixed(0)]);
  console.log(markdownTable([['process', '% of a core', 'wake-ups a second'], ...rows]));
  const above = names.filter((_, i) => idle[i]!.cpuPercent > CPU_PERCENT_MAX);
  if (above.length > 0) {
    console.error(`more than ${CPU_PERCENT_MAX} % of a core: ${above.join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  await cluster.end();
  rmSync(folder, { recursive: true, force: true });
}
