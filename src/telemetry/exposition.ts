// Writes metrics as text for scrapers, in Prometheus' format 0.0.4 or in OpenMetrics 1.0. It pauses between
// metrics, so that a scrape of many tenants holds up nothing else.
// https://prometheus.io/docs/instrumenting/exposition_formats/ and
// https://prometheus.io/docs/specs/om/open_metrics_spec/
import { setImmediate as nextTurn } from 'node:timers/promises';
export type ExpositionFormat = 'text' | 'openmetrics';

export const EXPOSITION_TYPES: Readonly<Record<ExpositionFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

type Labels = Readonly<Partial<Record<string, string | number>>>;

export interface Sample {
  /** undefined = that of the metric. */
  readonly metricName?: string | undefined;
  readonly labels: Labels;
  /** Of histograms: labels that all buckets have. */
  readonly sharedLabels?: Labels | undefined;
  readonly value: number;
}

export interface Snapshot {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** May be made one after another while they are written. */
  readonly values: Iterable<Sample>;
}

/** A metric as prom-client keeps it. */
export interface RegisteredMetric {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  /** Of histograms. */
  readonly upperBounds?: readonly number[];
  get(): Promise<Snapshot>;
  /** Cheaper, where there is one. */
  getForPromString?(): Promise<Snapshot>;
}

/** Longest stretch of work without a pause. */
const SLICE_MS = 5;

/** Samples between two looks at the clock. */
const SAMPLES_A_LOOK = 500;

const TOTAL = '_total';

/** The bytes that a scraper takes; the OpenMetrics form ends with its `# EOF`. */
export async function exposition(
  metrics: readonly RegisteredMetric[],
  format: ExpositionFormat,
): Promise<Buffer> {
  const isOpen = format === 'openmetrics';
  const names = new Set(metrics.map(({ name }) => name));
  const slices: Buffer[] = [];
  let text = '';
  let sliceEndsAtMs = performance.now() + SLICE_MS;
  for (const metric of metrics) {
    const snapshot = await (metric.getForPromString?.() ?? metric.get());
    const { name, type, values } = snapshot;
    const family = isOpen ? openFamily(snapshot, names) : { name, type };
    text += `# HELP ${family.name} ${escapedHelp(snapshot.help, isOpen)}\n`;
    text += `# TYPE ${family.name} ${family.type}\n`;
    let i = 0;
    for (const sample of values) {
      text += sampleLine(name, sample, isOpen);
      if (i++ % SAMPLES_A_LOOK !== 0 || performance.now() < sliceEndsAtMs) continue;
      slices.push(Buffer.from(text));
      text = '';
      await nextTurn();
      sliceEndsAtMs = performance.now() + SLICE_MS;
    }
  }
  slices.push(Buffer.from(isOpen ? `${text}# EOF\n` : text));
  return Buffer.concat(slices);
}

/**
 * A counter's family is called without `_total`. One that has no such ending, or whose family would be
 * called as another, is of unknown type there: its samples keep their names, as Go's client has it.
 */
function openFamily(
  { name, type }: Snapshot,
  names: ReadonlySet<string>,
): { readonly name: string; readonly type: string } {
  if (type !== 'counter') return { name, type };
  const family = name.slice(0, -TOTAL.length);
  if (name.endsWith(TOTAL) && !names.has(family)) return { name: family, type };
  return { name, type: 'unknown' };
}

function sampleLine(name: string, sample: Sample, isOpen: boolean): string {
  const labels = labelsText(sample.sharedLabels, isOpen, labelsText(sample.labels, isOpen, ''));
  const of = sample.metricName ?? name;
  return labels === ''
    ? `${of} ${valueText(sample.value)}\n`
    : `${of}{${labels}} ${valueText(sample.value)}\n`;
}

/** @param before labels that are text already. */
function labelsText(labels: Labels | undefined, isOpen: boolean, before: string): string {
  let text = before;
  if (labels === undefined) return text;
  for (const label in labels) {
    const value = labels[label] ?? '';
    const shown = label === 'le' ? boundText(value, isOpen) : escapedValue(String(value));
    text += text === '' ? `${label}="${shown}"` : `,${label}="${shown}"`;
  }
  return text;
}

/**
 * A bound as Go writes it, so that series of histograms fit those of other programs: 1e+06 from a million
 * on, and a float always in OpenMetrics.
 */
function boundText(bound: string | number, isOpen: boolean): string {
  if (typeof bound === 'string') return bound;
  const size = Math.abs(bound);
  const isLong = size !== 0 && (size >= 1e6 || size < 1e-4);
  const text = isLong ? bound.toExponential().replace(/e([+-])(\d)$/, 'e$10$2') : String(bound);
  return isOpen && !/[.e]/.test(text) ? `${text}.0` : text;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '"': '\\"' };

function escapedValue(text: string): string {
  return /[\\\n"]/.test(text) ? text.replaceAll(/[\\\n"]/g, (char) => ESCAPES[char]!) : text;
}

function escapedHelp(text: string, isOpen: boolean): string {
  return text.replaceAll(isOpen ? /[\\\n"]/g : /[\\\n]/g, (char) => ESCAPES[char]!);
}

function valueText(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
