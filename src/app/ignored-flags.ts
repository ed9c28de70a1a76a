// Flags of Tempo that start scripts pass and that have no effect here.
import type { FlagSpec } from '../config/flags.ts';

const KAFKA_FLAGS = [
  'address',
  'auto-create-topic-default-partitions',
  'auto-create-topic-enabled',
  'client-id',
  'consumer-group',
  'consumer-group-offset-commit-interval',
  'consumer_group_lag_metric_update_interval',
  'dial-timeout',
  'disable-kafka-telemetry',
  'last-produced-offset-retry-timeout',
  'max-consumer-lag-at-startup',
  'producer-max-buffered-bytes',
  'producer-max-record-size-bytes',
  'sasl-password',
  'sasl-username',
  'target-consumer-lag-at-startup',
  'topic',
  'write-timeout',
];

const NAMES: readonly string[] = [
  'mem-ballast-size-mbs',
  'mutex-profile-fraction',
  'block-profile-threshold',
  ...KAFKA_FLAGS.map((name) => `generator.${name}`),
];

export const IGNORED_FLAGS: readonly FlagSpec[] = NAMES.map((name) => ({
  name,
  path: undefined,
  type: name.endsWith('-enabled') || name.startsWith('generator.disable') ? 'bool' : 'value',
  doc: 'accepted, without effect',
  default: '',
  isList: false,
}));
