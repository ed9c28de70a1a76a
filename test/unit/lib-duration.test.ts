// Texts of durations and sizes to numbers and back, and the nearest known word.
import t from 'tap';
import { formatDuration, parseDuration } from '../../src/lib/duration.ts';
import { nearest } from '../../src/lib/nearest.ts';
import { formatSize, parseSize } from '../../src/lib/size.ts';

t.test('durations', (t) => {
  const table = [
    { input: '0', want: 0, printed: '0s' },
    { input: '1h30m', want: 5_400_000, printed: '1h30m0s' },
    { input: '250ms', want: 250, printed: '250ms' },
    { input: '1.5s', want: 1500, printed: '1.5s' },
    { input: '336h', want: 1_209_600_000, printed: '336h0m0s' },
    { input: '2d', want: 172_800_000, printed: '48h0m0s' },
    { input: '1w', want: 604_800_000, printed: '168h0m0s' },
    { input: '100us', want: 0.1, printed: '100µs' },
    { input: '100µs', want: 0.1, printed: '100µs' },
    { input: '5ns', want: 0.000005, printed: '5ns' },
    { input: '-30s', want: -30_000, printed: '-30s' },
    { input: '2m', want: 120_000, printed: '2m0s' },
    { input: '2562047h47m16.854775807s', want: Infinity, printed: '2562047h47m16.854775807s' },
  ];
  for (const { input, want, printed } of table) {
    t.equal(parseDuration(input), want, input);
    t.equal(formatDuration(want), printed, printed);
  }
  for (const bad of ['', '30', '5 minutes', 'm', '1h30', '1.2.3s', '.s', '1H'])
    t.throws(() => parseDuration(bad), /is no duration/, bad);
  t.end();
});

t.test('sizes', (t) => {
  const table = [
    { input: '0', want: 0, printed: '0B' },
    { input: '65535', want: 65_535, printed: '63KiB1023B' },
    { input: '63KiB1023B', want: 65_535, printed: '63KiB1023B' },
    { input: '10MB', want: 10_485_760, printed: '10MiB' },
    { input: '1.5 GiB', want: 1_610_612_736, printed: '1GiB512MiB' },
    { input: '64kib', want: 65_536, printed: '64KiB' },
  ];
  for (const { input, want, printed } of table) {
    t.equal(parseSize(input), want, input);
    t.equal(formatSize(want), printed, printed);
  }
  for (const bad of ['', 'KiB', '5 apples', '-1', '5KiBx']) t.throws(() => parseSize(bad), /is no size/, bad);
  t.end();
});

t.test('the nearest word', (t) => {
  const known = ['max_block_bytes', 'max_block_duration', 'all', 'otlp'];
  t.equal(nearest('max_blok_bytes', known), 'max_block_bytes');
  t.equal(nearest('otpl', known), 'otlp');
  t.equal(nearest('something_else', known), undefined);
  t.equal(nearest('', known), undefined);
  t.end();
});
