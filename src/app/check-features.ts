// Features of Tempo that a configuration asks for and this build does not have yet: each is told, none is
// silently left out.
import type { TempoConfig } from './config.ts';

interface Feature {
  readonly path: string;
  /** What does not happen. */
  readonly text: string;
  readonly isAskedFor: (config: TempoConfig) => boolean;
}

const RECEIVERS = ['jaeger', 'zipkin', 'opencensus', 'kafka'] as const;

const FEATURES: readonly Feature[] = [
  {
    path: 'metrics_generator',
    text: 'no metrics are made of spans',
    isAskedFor: ({ metricsGenerator: { storage }, overrides }) => {
      const limits = [overrides.defaults, ...Object.values(overrides.inlineTenants)];
      const isConfigured = storage.path !== '' || storage.remoteWrite.length > 0;
      return isConfigured || limits.some(({ metricsGenerator }) => metricsGenerator.processors.length > 0);
    },
  },
  {
    path: 'ingest',
    text: 'spans do not pass through Kafka',
    isAskedFor: ({ distributor, ingest }) => ingest.enabled || distributor.kafkaWritePathEnabled,
  },
  {
    path: 'query_frontend.mcp_server',
    text: '/api/mcp is not served',
    isAskedFor: ({ queryFrontend }) => queryFrontend.mcpServer.enabled,
  },
  ...RECEIVERS.map((name) => ({
    path: `distributor.receivers.${name}`,
    text: 'the receiver is not started',
    isAskedFor: ({ distributor }: TempoConfig) => distributor.receivers[name] !== undefined,
  })),
];

export function featuresNotYet(config: TempoConfig): readonly (readonly [path: string, text: string])[] {
  return FEATURES.filter(({ isAskedFor }) => isAskedFor(config)).map(({ path, text }) => [
    path,
    `is not available in this build yet: ${text}`,
  ]);
}
