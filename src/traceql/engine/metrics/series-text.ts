// Series of a range query as they stand in a list of JSON. Runs of samples without a value, most of what a
// large answer is, are left out until it is sent.
import { type FilledText, FilledTextWriter } from '../../../lib/filled-text.ts';
import type { LabelPool } from './label-pool.ts';
import type { MetricsRange } from './range.ts';
import type { ResultSeries } from './result-series.ts';
import { SeriesWriter } from './series-writer.ts';
import { ZeroSamples } from './zero-samples.ts';

const COMMA = new TextEncoder().encode(',');

/** @param check is called now and then, and ends it by throwing. */
export function seriesText(
  series: readonly ResultSeries[],
  range: MetricsRange,
  pool: LabelPool,
  check: () => void,
): FilledText {
  const zeros = new ZeroSamples(range);
  const text = new FilledTextWriter(zeros.bytes);
  const leaveOut = (position: number, from: number, to: number): void => text.leaveOut(position, from, to);
  const writer = new SeriesWriter(range, pool, { format: 'json', isInstant: false, zeros, leaveOut });
  series.forEach((one, i) => {
    check();
    if (i > 0) text.add(COMMA);
    text.add(writer.write(one));
  });
  return text.text();
}
