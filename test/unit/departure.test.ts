// A flush before a stop that fails is tried again, and given up in the end: the log keeps the spans.
import t from 'tap';
import { flushBeforeStop } from '../../src/modules/ingester/departure.ts';
import { createLogger } from '../../src/telemetry/log.ts';

const CASES = [
  { name: 'a backend that is there', fails: 0, flushed: true, tries: 1, levels: [] },
  { name: 'a backend that was away twice', fails: 2, flushed: true, tries: 3, levels: ['warn', 'warn'] },
  {
    name: 'a backend that stays away',
    fails: 9,
    flushed: false,
    tries: 3,
    levels: ['warn', 'warn', 'error'],
  },
];

for (const { name, fails, flushed, tries, levels } of CASES) {
  t.test(name, async (test) => {
    const lines: string[] = [];
    let asked = 0;
    const flush = async (): Promise<void> => {
      if (asked++ < fails) throw new Error('the backend is away');
    };
    const logger = createLogger({ level: 'debug', format: 'logfmt', write: (line) => lines.push(line) });
    test.equal(await flushBeforeStop(flush, logger, [1, 1]), flushed);
    test.equal(asked, tries);
    test.same(
      lines.map((line) => /level=(\w+)/.exec(line)?.[1]),
      levels,
    );
    for (const line of lines) test.match(line, 'the backend is away');
  });
}
