// What a tenant may set for itself over /api/overrides: a few of its limits, as JSON with Tempo's keys. Read
// strictly, checked in Tempo's words, written with the keys in Tempo's order.
import { propertyName, type Shape } from '../config/field.ts';
import { formatDuration, parseDuration } from '../lib/duration.ts';
import { TempoError } from '../lib/errors.ts';
import { type Limits, limitsFields } from './limits.ts';

type Plain = Readonly<Record<string, unknown>>;

/** Only what is set, durations as Go's text; blocks are always there. */
export interface UserLimits {
  readonly forwarders?: readonly string[];
  readonly cost_attribution: { readonly dimensions?: Readonly<Record<string, string>> };
  readonly metrics_generator: GeneratorLimits;
}

export interface GeneratorLimits {
  readonly processors?: readonly string[];
  readonly collection_interval?: string;
  readonly trace_id_label_name?: string;
  readonly ingestion_time_range_slack?: string;
  readonly generate_native_histograms?: string;
  readonly native_histogram_bucket_factor?: number;
  readonly processor: {
    readonly service_graphs: { readonly histogram_buckets?: readonly number[] };
    readonly span_metrics: SpanMetricsLimits;
    readonly host_info: { readonly metric_name?: string };
  };
}

interface SpanMetricsLimits {
  readonly histogram_buckets?: readonly number[];
  readonly intrinsic_dimensions?: Readonly<Record<string, boolean>>;
  readonly dimension_mappings?: readonly Plain[];
  readonly filter_policies?: readonly Plain[];
}

interface Leaf {
  readonly kind: 'leaf';
  readonly read: (value: unknown, path: string) => unknown;
}

interface Group {
  readonly kind: 'group';
  readonly fields: Readonly<Record<string, Leaf | Group>>;
}

const UINT32_MAX = 0xffff_ffff;
/** Objects and lists within each other; what can be set needs fewer than ten. */
const NESTING_MAX = 64;

const leaf = (read: Leaf['read']): Leaf => ({ kind: 'leaf', read });
const group = (fields: Group['fields']): Group => ({ kind: 'group', fields });

function wrong(path: string, text: string): TempoError {
  return new TempoError('invalid_argument', `${path === '' ? 'overrides' : path}: ${text}`);
}

function typed<T>(is: (value: unknown) => value is T, name: string): Leaf {
  return leaf((value, path) => {
    if (is(value)) return value;
    throw wrong(path, `must be ${name}`);
  });
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';
const isFlag = (value: unknown): value is boolean => typeof value === 'boolean';
const isUint32 = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= UINT32_MAX;

const text = typed(isText, 'a text');
const flag = typed(isFlag, 'true or false');
const number = typed(isNumber, 'a number');
const uint32 = typed(isUint32, `a whole number of at most ${UINT32_MAX}`);

/** Go's text, or nanoseconds. */
const duration = leaf((value, path) => {
  if (isNumber(value)) return formatDuration(value / 1e6);
  if (!isText(value)) throw wrong(path, 'must be a duration');
  try {
    return formatDuration(parseDuration(value));
  } catch (err) {
    throw wrong(path, err instanceof Error ? err.message : String(err));
  }
});

function listOf({ read }: Leaf): Leaf {
  return leaf((value, path) => {
    if (!Array.isArray(value)) throw wrong(path, 'must be a list');
    return value.map((item, i) => read(item, `${path}[${i}]`));
  });
}

function mapOf({ read }: Leaf): Leaf {
  return leaf((value, path) =>
    Object.fromEntries(Object.entries(objectOf(value, path)).map(([k, v]) => [k, read(v, `${path}.${k}`)])),
  );
}

/** An object with these keys and no other. */
function record(fields: Group['fields']): Leaf {
  return leaf((value, path) => readGroup(group(fields), value, path));
}

const anything = leaf((value) => value);
const match = record({ match_type: text, attributes: listOf(record({ key: text, value: anything })) });

const USER_LIMITS = group({
  forwarders: listOf(text),
  cost_attribution: group({ dimensions: mapOf(text) }),
  metrics_generator: group({
    processors: listOf(text),
    disable_collection: flag,
    collection_interval: duration,
    trace_id_label_name: text,
    ingestion_time_range_slack: duration,
    generate_native_histograms: text,
    native_histogram_max_bucket_number: uint32,
    native_histogram_bucket_factor: number,
    native_histogram_min_reset_duration: duration,
    processor: group({
      service_graphs: group({
        dimensions: listOf(text),
        enable_client_server_prefix: flag,
        enable_messaging_system_latency_histogram: flag,
        enable_virtual_node_label: flag,
        peer_attributes: listOf(text),
        histogram_buckets: listOf(number),
      }),
      span_metrics: group({
        dimensions: listOf(text),
        intrinsic_dimensions: mapOf(flag),
        dimension_mappings: listOf(record({ name: text, source_labels: listOf(text), join: text })),
        enable_target_info: flag,
        filter_policies: listOf(record({ include: match, exclude: match })),
        histogram_buckets: listOf(number),
        target_info_excluded_dimensions: listOf(text),
        enable_instance_label: flag,
      }),
      host_info: group({ host_identifiers: listOf(text), metric_name: text }),
    }),
  }),
});

function objectOf(value: unknown, path: string): Plain {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Plain;
  throw wrong(path, 'must be an object');
}

/** What is null is not set. */
function readGroup({ fields }: Group, value: unknown, path: string): Plain {
  const given = objectOf(value ?? {}, path);
  const below = (key: string): string => (path === '' ? key : `${path}.${key}`);
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(fields, key)) throw wrong(path, `found unknown field: ${key}`);
  }
  const out: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(fields)) {
    const item = given[key] ?? undefined;
    if (field.kind === 'group') out[key] = readGroup(field, item, below(key));
    else if (item !== undefined) out[key] = field.read(item, below(key));
  }
  return out;
}

/** @throws TempoError invalid_argument. */
export function userLimitsFromPlain(plain: unknown): UserLimits {
  return readGroup(USER_LIMITS, plain, '') as unknown as UserLimits;
}

/** @throws TempoError invalid_argument. */
export function parseJson(body: Uint8Array): unknown {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch (err) {
    throw new TempoError(
      'invalid_argument',
      `no valid JSON: ${err instanceof Error ? err.message : String(err)}`,
      err,
    );
  }
  if (isNestedTooDeeply(value)) throw wrong('', `nested more than ${NESTING_MAX} deep`);
  return value;
}

/** Level by level, as what goes down by calls would end at the size of the stack. */
function isNestedTooDeeply(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; depth <= NESTING_MAX; depth++) {
    level = level.flatMap((one): unknown[] =>
      typeof one === 'object' && one !== null ? Object.values(one) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}

/** RFC 7386: what is null goes, objects are merged, all else is replaced. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(Object.entries(isObject(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

function isObject(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The limits of a tenant with what it has set itself: that wins, but for processors, which are joined. */
export function withUserLimits(limits: Limits, user: UserLimits): Limits {
  const merged = overlaid(limitsFields, limits as unknown as Plain, user as unknown as Plain);
  const own = user.metrics_generator.processors ?? [];
  const processors = [...new Set([...own, ...limits.metricsGenerator.processors])];
  const { metricsGenerator, ...rest } = merged as unknown as Limits;
  return { ...rest, metricsGenerator: { ...metricsGenerator, processors } };
}

function overlaid(shape: Shape, base: Plain, over: Plain): Plain {
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const field = shape[key]!;
    const property = propertyName(key, field);
    if (field.kind === 'block')
      out[property] = overlaid(field.shape, base[property] as Plain, value as Plain);
    else out[property] = field.kind === 'duration' ? parseDuration(value as string) : value;
  }
  return out;
}

/** Whether limits say something that a tenant could set itself; processors do not count, they are joined. */
export function saysUserLimits({ metricsGenerator, ...limits }: Limits): boolean {
  const others = { ...limits, metricsGenerator: { ...metricsGenerator, processors: [] } };
  return saysAny(USER_LIMITS, limitsFields, others as unknown as Plain);
}

function saysAny({ fields }: Group, shape: Shape, limits: Plain): boolean {
  return Object.entries(fields).some(([key, field]) => {
    const below = shape[key]!;
    const value = limits[propertyName(key, below)];
    if (field.kind === 'group' && below.kind === 'block') return saysAny(field, below.shape, value as Plain);
    if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
    return value !== undefined && value !== '' && value !== 0 && value !== false;
  });
}

/**
 * The answer to `scope=merged`: what holds, whoever has set it.
 * @param defaults what native histograms have where a tenant of the overrides file says nothing.
 */
export function mergedPlain(
  { forwarders, metricsGenerator }: Limits,
  user: UserLimits,
  { metricsGenerator: defaults }: Limits,
): unknown {
  const { serviceGraphs, spanMetrics, hostInfo } = metricsGenerator.processor;
  const orNull = <T>(list: readonly T[] | undefined): readonly T[] | null => list ?? null;
  return {
    forwarders: user.forwarders ?? (forwarders.length === 0 ? null : forwarders),
    cost_attribution: {},
    metrics_generator: {
      processors: metricsGenerator.processors,
      disable_collection: metricsGenerator.disableCollection,
      collection_interval: formatDuration(metricsGenerator.collectionIntervalMs),
      trace_id_label_name: metricsGenerator.traceIdLabelName,
      ingestion_time_range_slack: formatDuration(metricsGenerator.ingestionTimeRangeSlackMs),
      generate_native_histograms: metricsGenerator.generateNativeHistograms,
      native_histogram_max_bucket_number:
        metricsGenerator.nativeHistogramMaxBucketNumber || defaults.nativeHistogramMaxBucketNumber,
      native_histogram_bucket_factor:
        metricsGenerator.nativeHistogramBucketFactor || defaults.nativeHistogramBucketFactor,
      native_histogram_min_reset_duration: formatDuration(
        metricsGenerator.nativeHistogramMinResetDurationMs || defaults.nativeHistogramMinResetDurationMs,
      ),
      processor: {
        service_graphs: {
          dimensions: orNull(serviceGraphs.dimensions),
          enable_client_server_prefix: serviceGraphs.enableClientServerPrefix ?? false,
          peer_attributes: orNull(serviceGraphs.peerAttributes),
          histogram_buckets: orNull(serviceGraphs.histogramBuckets),
        },
        span_metrics: {
          dimensions: orNull(spanMetrics.dimensions),
          intrinsic_dimensions:
            Object.keys(spanMetrics.intrinsicDimensions).length === 0
              ? null
              : spanMetrics.intrinsicDimensions,
          ...(spanMetrics.dimensionMappings === undefined || spanMetrics.dimensionMappings.length === 0
            ? {}
            : { dimension_mappings: spanMetrics.dimensionMappings }),
          enable_target_info: spanMetrics.enableTargetInfo ?? false,
          filter_policies: orNull(spanMetrics.filterPolicies),
          histogram_buckets: orNull(spanMetrics.histogramBuckets),
          target_info_excluded_dimensions: orNull(spanMetrics.targetInfoExcludedDimensions),
          enable_instance_label: spanMetrics.enableInstanceLabel ?? true,
        },
        host_info: {
          host_identifiers: orNull(hostInfo.hostIdentifiers),
          metric_name: hostInfo.metricName,
        },
      },
    },
  };
}
