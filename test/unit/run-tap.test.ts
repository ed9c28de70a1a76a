// The reader of tap's output, on which the verdict of every run depends.
import t from 'tap';
import { readTap } from '../support/tap-output.ts';

const OUTPUT = `TAP version 14
1..3
# Subtest: test/unit/a.test.ts
    # Subtest: outer
        ok 1 - fine
        not ok 2 - should be equal \\# 1
          ---
          compare: ===
          diff: |
            -1
            +2
          ...
        
        1..2
    not ok 1 - outer # time=1.5ms
      ---
      at: somewhere
      ...
    
    # Subtest: later
        ok 1 - fine
        1..1
    ok 2 - later # time=1ms
    ok 3 - not now # SKIP why
    1..3
not ok 1 - test/unit/a.test.ts # time=20.5ms
  ---
  exitCode: 1
  ...

# Subtest: test/unit/b.test.ts
    ok 1 - fine
    1..1
ok 2 - test/unit/b.test.ts # time=3ms

# Subtest: test/unit/c.test.ts
    ok 1 - fine
    1..1
not ok 3 - test/unit/c.test.ts # time=4ms
  ---
  exitCode: 3
  ...

# { total: 7, pass: 4, fail: 2, skip: 1 }
# time=40ms
`;

t.test('files, failures and counts of a run', (t) => {
  const { counts, files, failures } = readTap(OUTPUT);
  t.same(counts, { pass: 4, fail: 2, skip: 1 });
  t.same(files, [
    { path: 'test/unit/a.test.ts', ok: false, timeMs: 20.5 },
    { path: 'test/unit/b.test.ts', ok: true, timeMs: 3 },
    { path: 'test/unit/c.test.ts', ok: false, timeMs: 4 },
  ]);
  t.same(failures, [
    {
      names: ['test/unit/a.test.ts', 'outer', 'should be equal # 1'],
      diagnostics: 'compare: ===\ndiff: |\n  -1\n  +2',
    },
    { names: ['test/unit/c.test.ts'], diagnostics: 'exitCode: 3' },
  ]);
  t.end();
});

t.test('a run without a summary has no counts', (t) => {
  t.equal(readTap('TAP version 14\nok 1 - a\n').counts, undefined);
  t.end();
});
