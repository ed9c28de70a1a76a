// Names and values that are part of the language and need no reading.
import type { Intrinsic } from '../../traceql/source.ts';

/** The intrinsics that the tag endpoints name, sorted. */
export const INTRINSIC_TAGS: readonly string[] = [
  'duration',
  'event:name',
  'event:timeSinceStart',
  'instrumentation:name',
  'instrumentation:version',
  'kind',
  'link:spanID',
  'link:traceID',
  'name',
  'rootName',
  'rootServiceName',
  'span:duration',
  'span:id',
  'span:kind',
  'span:name',
  'span:parentID',
  'span:status',
  'span:statusMessage',
  'status',
  'statusMessage',
  'trace:duration',
  'trace:id',
  'trace:rootName',
  'trace:rootService',
  'traceDuration',
];

export const KEYWORDS: Partial<Record<Intrinsic, readonly string[]>> = {
  'span:status': ['error', 'ok', 'unset'],
  'span:kind': ['client', 'consumer', 'internal', 'producer', 'server', 'unspecified'],
};
