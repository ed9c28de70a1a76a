// TraceQL metrics over HTTP: as JSON, whatever the client accepts.
import { metricsJson, metricsPartial } from './metrics-response.ts';
import type { Reads } from './reads.ts';
import { type Route, send, tellPartial } from './request.ts';

export function addMetricsRoutes(route: Route, reads: Reads): void {
  const add = (path: string, isInstant: boolean): void =>
    route(path, 'metrics', async (call, _request, reply) => {
      const found = await reads.metrics(call, isInstant, 'json');
      tellPartial(reply, metricsPartial(found));
      return send(reply, 'json', metricsJson(found));
    });
  add('/api/metrics/query_range', false);
  add('/api/metrics/query', true);
  route('/api/metrics/summary', 'metrics', async (call, _request, reply) => {
    const { body, partial } = await reads.metricsSummary(call);
    tellPartial(reply, partial);
    return send(reply, 'json', body);
  });
}
