// Attributes for which Tempo has columns of their own: in some answers it names their absence.
import type { AttributeScope } from '../source.ts';

type ByScope = Readonly<Record<AttributeScope, ReadonlySet<string>>>;

const NONE: ReadonlySet<string> = new Set();

/** In vParquet4 whatever is configured: Tempo shows their absence. */
export const WELL_KNOWN: ByScope = {
  span: new Set(['http.method', 'http.url', 'http.status_code']),
  resource: new Set([
    'cluster',
    'namespace',
    'pod',
    'container',
    'k8s.cluster.name',
    'k8s.namespace.name',
    'k8s.pod.name',
    'k8s.container.name',
  ]),
  event: NONE,
  link: NONE,
  instrumentation: NONE,
};

/** More of them: the service, and Tempo's default dedicated columns. */
export const OWN_COLUMNS: ByScope = {
  span: new Set(['http.request.method', 'url.path', 'url.route', 'server.address', 'http.route']),
  resource: new Set(['service.name']),
  event: NONE,
  link: NONE,
  instrumentation: NONE,
};
