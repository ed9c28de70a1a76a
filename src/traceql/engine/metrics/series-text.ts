// Series of a range query as they stand in a list of JSON. Runs of samples without a value, most of what a
// large answer is, are left out until it is sent.
import { type FilledText, FilledTextWriter } from '../../../lib/filled-text.ts';
import type { Check } from './check.ts';
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
  check: Check,
): FilledText {
  const zeros = new ZeroSamples(range, check);
  const text = new FilledTextWriter(zeros.bytes);
  const leaveOut = (position: number, from: number, to: number): void => text.leaveOut(position, from, to);
  const how = { format: 'json', isInstant: false, zeros, leaveOut } as const;
  const writer = new SeriesWriter(range, pool, how, check);
  series.forEach((one, i) => {
    if (i > 0) text.add(COMMA);
    text.add(writer.write(one));
  });
  return text.text();
}
