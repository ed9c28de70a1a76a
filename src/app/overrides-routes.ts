// The pages that show which limits hold: /status/overrides and /status/overrides/{tenant}.
import type { FastifyInstance } from 'fastify';
import type { Overrides } from '../overrides/overrides.ts';
import { overridesPage, tenantPage } from '../overrides/pages.ts';

const HTML = 'text/html; charset=utf-8';
/** Tenants are escaped; this is the second line. */
const POLICY = "default-src 'none'";

export function registerOverridesRoutes(app: FastifyInstance, overrides: Overrides): void {
  app.get('/status/overrides', (_request, reply) =>
    reply.header('content-security-policy', POLICY).type(HTML).send(overridesPage(overrides, new Date())),
  );
  app.get('/status/overrides/:tenant', (request, reply) => {
    const { tenant } = request.params as { readonly tenant: string };
    return reply
      .header('content-security-policy', POLICY)
      .type(HTML)
      .send(tenantPage(overrides, tenant, new Date()));
  });
}
