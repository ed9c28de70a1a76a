// The flags of tempo-vulture: names and defaults are those of Tempo's program.
import { parseCommandLine, UsageError } from '../../src/app/command-line.ts';
import type { FlagSpec } from '../../src/config/flags.ts';
import { parseDuration } from '../../src/lib/duration.ts';

export interface VultureOptions {
  readonly queryUrl: string;
  /** With scheme and port. */
  readonly pushUrl: string;
  /** Empty = no header. */
  readonly tenant: string;
  readonly writeBackoffMs: number;
  readonly longWriteBackoffMs: number;
  readonly readBackoffMs: number;
  /** 0 = no searches. */
  readonly searchBackoffMs: number;
  /** 0 = no metrics queries. */
  readonly metricsBackoffMs: number;
  readonly retentionMs: number;
  /** Traces older than this are checked by loops of their own. */
  readonly recentMs: number;
  readonly listenAddress: string;
  readonly metricsPath: string;
  readonly queryLiveStores: boolean;
  /** RFC 3339; empty = not sent. */
  readonly rf1After: string;
  readonly validation: boolean;
  readonly validationCycles: number;
  readonly validationTimeoutMs: number;
}

const OTLP_GRPC_PORT = 4317;

const flag = (name: string, type: string, value: string, doc: string): FlagSpec => ({
  name,
  path: undefined,
  type,
  doc,
  default: value,
  isList: false,
});

export const VULTURE_FLAGS: readonly FlagSpec[] = [
  flag('prometheus-listen-address', 'string', ':80', 'where metrics are served, [host]:port'),
  flag('prometheus-path', 'string', '/metrics', 'path of the metrics'),
  flag('rhythm-rf1-after', 'value', '', 'RFC 3339 time, sent with queries as rf1After'),
  flag('tempo-long-write-backoff-duration', 'duration', '1m', 'pause between the parts of a long trace'),
  flag('tempo-metrics-backoff-duration', 'duration', '0s', 'pause between metrics queries, 0s = none'),
  flag('tempo-org-id', 'string', '', 'tenant that is written and read'),
  flag('tempo-push-tls', 'bool', 'false', 'push over TLS'),
  flag('tempo-push-url', 'string', '', 'where OTLP over gRPC is taken, scheme://host[:port]'),
  flag('tempo-query-livestore', 'bool', 'false', 'ask live-stores for recent data'),
  flag('tempo-query-url', 'string', '', 'where queries are answered, scheme://host[:port]'),
  flag('tempo-read-backoff-duration', 'duration', '30s', 'pause between reads by id, 0s = none'),
  flag('tempo-recent-traces-backoff-duration', 'duration', '14m', 'older traces are checked apart'),
  flag('tempo-retention-duration', 'duration', '336h', 'traces older than this are not expected'),
  flag('tempo-search-backoff-duration', 'duration', '60s', 'pause between searches, 0s = none'),
  flag('tempo-write-backoff-duration', 'duration', '15s', 'pause between writes'),
  flag('validation-mode', 'bool', 'false', 'write and check a few traces, then end with 0 or 1'),
  flag('validation-cycles', 'int', '3', 'traces of the validation mode'),
  flag('validation-timeout', 'duration', '5m', 'the validation mode ends after this'),
  flag('help', 'bool', '', 'print the flags and end'),
  flag('h', 'bool', '', 'print the flags and end'),
];

/** @returns undefined when help is asked for. @throws UsageError */
export function vultureOptions(args: readonly string[]): VultureOptions | undefined {
  const given = parseCommandLine(args, VULTURE_FLAGS);
  if (given.has('help') || given.has('h')) return undefined;
  const text = (name: string): string =>
    given.get(name)?.at(-1) ?? VULTURE_FLAGS.find((spec) => spec.name === name)?.default ?? '';
  const ms = (name: string): number => checked(name, text(name), durationOf);
  const count = (name: string): number => checked(name, text(name), countOf);
  const options: VultureOptions = {
    queryUrl: checked('tempo-query-url', text('tempo-query-url'), queryUrlOf),
    pushUrl: checked('tempo-push-url', text('tempo-push-url'), (value) =>
      pushUrlOf(value, text('tempo-push-tls') === 'true'),
    ),
    tenant: text('tempo-org-id'),
    writeBackoffMs: ms('tempo-write-backoff-duration'),
    longWriteBackoffMs: ms('tempo-long-write-backoff-duration'),
    readBackoffMs: ms('tempo-read-backoff-duration'),
    searchBackoffMs: ms('tempo-search-backoff-duration'),
    metricsBackoffMs: ms('tempo-metrics-backoff-duration'),
    retentionMs: ms('tempo-retention-duration'),
    recentMs: ms('tempo-recent-traces-backoff-duration'),
    listenAddress: text('prometheus-listen-address'),
    metricsPath: text('prometheus-path'),
    queryLiveStores: text('tempo-query-livestore') === 'true',
    rf1After: text('rhythm-rf1-after'),
    validation: text('validation-mode') === 'true',
    validationCycles: count('validation-cycles'),
    validationTimeoutMs: ms('validation-timeout'),
  };
  if (options.writeBackoffMs < 1) {
    throw new UsageError('-tempo-write-backoff-duration must be at least 1ms');
  }
  if (options.readBackoffMs + options.searchBackoffMs + options.metricsBackoffMs === 0) {
    throw new UsageError('nothing is read: every backoff of reads, searches and metrics is 0s');
  }
  return options;
}

function checked<T>(name: string, value: string, read: (value: string) => T): T {
  try {
    return read(value);
  } catch (err) {
    throw new UsageError(`-${name}: ${err instanceof Error ? err.message : String(err)}`);
  }
}

function durationOf(text: string): number {
  const ms = parseDuration(text);
  if (ms < 0) throw new Error(`${text} is negative`);
  return ms;
}

function countOf(text: string): number {
  if (!/^\d+$/.test(text) || text === '0') throw new Error(`"${text}" is no count`);
  return Number(text);
}

function queryUrlOf(text: string): string {
  if (text === '') throw new Error('is needed, for example http://localhost:3200');
  return new URL(text).href.replace(/\/+$/, '');
}

function pushUrlOf(text: string, tls: boolean): string {
  if (text === '') throw new Error('is needed, for example http://localhost:4317');
  const url = new URL(/^[a-z]+:\/\//.test(text) ? text : `http://${text}`);
  const port = url.port === '' ? OTLP_GRPC_PORT : url.port;
  return `${tls || url.protocol === 'https:' ? 'https' : 'http'}://${url.hostname}:${port}`;
}
