// The end of `.ci/run`, which waits for what it ran beside the tests: it gets its status, and waits for ever
// neither when that was killed nor when it hangs.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { testFolder } from '../support/test-folder.ts';

const SCRIPT = readFileSync(new URL('../../.ci/run', import.meta.url), 'utf8');
const END = /^end_operations\(\) \{\n[^]*?^\}\n/m.exec(SCRIPT)?.[0] ?? '';

/** @param beside is run beside it, with `$operations` as the file of what it prints. */
function ending(t: Test, beside: string, secondsMax = 60): { status: number | null; output: string } {
  const file = join(testFolder(t), 'operations');
  const script = `${END}
operations=${file}
operations_seconds_max=${secondsMax}
echo '# 3 programs: {}' >$operations
( ${beside} ) &
operations_pid=$!
end_operations | cat
exit "\${PIPESTATUS[0]}"`;
  const { status, stdout } = spawnSync('bash', ['-c', script], { encoding: 'utf8', timeout: 20_000 });
  return { status, output: stdout };
}

t.test('the status is that of what ran', (t) => {
  t.strictSame(ending(t, 'echo 0 >$operations.status'), { status: 0, output: '# 3 programs: {}\n' });
  t.equal(ending(t, 'sleep 0.1; echo 7 >$operations.status').status, 7);
  t.end();
});

t.test('what was killed has failed', (t) => {
  const { status, output } = ending(t, 'kill -9 $BASHPID');
  t.equal(status, 1);
  t.match(output, 'not by themselves');
  t.end();
});

t.test('what hangs has failed after a time, and is ended', (t) => {
  const { status, output } = ending(t, 'sleep 3000; true', 1);
  t.equal(status, 1);
  t.match(output, 'they have not ended');
  t.end();
});
