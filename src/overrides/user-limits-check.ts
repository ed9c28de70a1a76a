// What of the limits that a tenant sets for itself cannot be, as Tempo says it.
import { formatDuration, parseDuration } from '../lib/duration.ts';
import { dimensionsProblem } from './cost-attribution.ts';
import type { GeneratorLimits, UserLimits } from './user-limits.ts';

const PROCESSORS = [
  'service-graphs',
  'span-metrics',
  'local-blocks',
  'span-metrics-count',
  'span-metrics-latency',
  'span-metrics-size',
  'host-info',
];
const INTRINSICS = ['service', 'span_name', 'span_kind', 'status_code', 'status_message'];
const HISTOGRAMS = ['classic', 'native', 'both'];
const MATCH_TYPES = ['strict', 'regex'];
const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** @param forwarders names of those that the distributor has. */
export function userLimitsProblem(limits: UserLimits, forwarders: ReadonlySet<string>): string | undefined {
  const unknown = limits.forwarders?.find((name) => !forwarders.has(name));
  if (unknown !== undefined) {
    return `forwarder "${unknown}" is not a known forwarder, contact your system administrator`;
  }
  const costs = dimensionsProblem(limits.cost_attribution.dimensions ?? {});
  return generatorProblem(limits.metrics_generator) ?? (costs && `cost_attribution.dimensions ${costs}`);
}

function generatorProblem(limits: GeneratorLimits): string | undefined {
  const { processors = [], trace_id_label_name: label, native_histogram_bucket_factor: factor } = limits;
  const { service_graphs: graphs, span_metrics: metrics, host_info: host } = limits.processor;
  const processor = processors.find((name) => !PROCESSORS.includes(name));
  if (processor !== undefined) {
    const known = PROCESSORS.join(' ');
    return `metrics_generator.processor "${processor}" is not a known processor, valid values: [${known}]`;
  }
  if (label !== undefined && !LABEL_NAME.test(label)) {
    return `trace_id_label_name "${label}" is not a valid Prometheus label name`;
  }
  if (factor !== undefined && !(factor > 1)) {
    return 'metrics_generator.native_histogram_bucket_factor must be greater than 1';
  }
  if (host.metric_name === '') return 'metric_name is invalid';
  return (
    rangeProblem('collection_interval', limits.collection_interval, '15s', '5m') ??
    rangeProblem('ingestion_time_range_slack', limits.ingestion_time_range_slack, '0s', '12h') ??
    bucketsProblem('service_graphs', graphs.histogram_buckets) ??
    bucketsProblem('span_metrics', metrics.histogram_buckets) ??
    intrinsicsProblem(Object.keys(metrics.intrinsic_dimensions ?? {})) ??
    histogramsProblem(limits.generate_native_histograms) ??
    policiesProblem(metrics.filter_policies ?? []) ??
    mappingsProblem(metrics.dimension_mappings ?? [])
  );
}

function rangeProblem(key: string, value: string | undefined, from: string, to: string): string | undefined {
  if (value === undefined) return undefined;
  const ms = parseDuration(value);
  if (ms >= parseDuration(from) && ms <= parseDuration(to)) return undefined;
  return `metrics_generator.${key} "${formatDuration(ms)}" is outside acceptable range of ${from} to ${to}`;
}

function bucketsProblem(processor: string, buckets: readonly number[] = []): string | undefined {
  const i = buckets.findIndex((bucket, at) => at > 0 && bucket <= buckets[at - 1]!);
  if (i < 0) return undefined;
  const path = `metrics_generator.processor.${processor}.histogram_buckets`;
  const [before, bucket] = [i - 1, i].map((at) => `bucket[${at}]=${buckets[at]}`);
  return `${path} must be strictly increasing: ${bucket} is <= ${before}`;
}

function intrinsicsProblem(names: readonly string[]): string | undefined {
  const unknown = names.find((name) => !INTRINSICS.includes(name));
  if (unknown === undefined) return undefined;
  return `intrinsic dimension "${unknown}" is not supported, valid values: [${INTRINSICS.join(' ')}]`;
}

function histogramsProblem(kind: string | undefined): string | undefined {
  if (kind === undefined || HISTOGRAMS.includes(kind)) return undefined;
  const valid = `valid values: ${HISTOGRAMS.join(', ')}`;
  return `metrics_generator.generate_native_histograms "${kind}" is not a valid value, ${valid}`;
}

type Plain = Readonly<Record<string, unknown>>;

function policiesProblem(policies: readonly Plain[]): string | undefined {
  for (const { include, exclude } of policies) {
    if (include === undefined && exclude === undefined) {
      return 'invalid filter policy; policies must have at least an `include` or `exclude`';
    }
    for (const [name, match] of Object.entries({ include, exclude })) {
      const type = (match as Plain | undefined)?.['match_type'];
      if (match === undefined || MATCH_TYPES.includes(String(type))) continue;
      return `invalid ${name} policy: invalid match type: ${String(type)}`;
    }
  }
  return undefined;
}

function mappingsProblem(mappings: readonly Plain[]): string | undefined {
  for (const { name = '', source_labels: sources = [] } of mappings) {
    if (name === '') return 'dimension_mappings: name cannot be empty';
    if ((sources as readonly unknown[]).length > 0) continue;
    return `dimension_mappings: source_labels cannot be empty for mapping with name "${String(name)}"`;
  }
  return undefined;
}
