// How to send traces to this server: its addresses, and what OpenTelemetry's SDKs want to be told.
import type { PageFacts } from '../api/page-facts.ts';
import { copyButton, h } from './dom.ts';

export function sendHelp(facts: PageFacts, tenant: string): readonly HTMLElement[] {
  if (facts.sendTo.length === 0) {
    return [h('p', {}, 'No OTLP receiver is configured: see distributor.receivers in tempo.yaml.')];
  }
  const addresses = facts.sendTo.map(({ protocol, host, port, tls, sdkProtocol }) => {
    const name = host === '' ? location.hostname : host;
    return { protocol, sdkProtocol, url: `${tls ? 'https' : 'http'}://${name}:${port}` };
  });
  const rows = addresses.map(({ protocol, url }) =>
    h('div', {}, h('dt', {}, protocol), h('dd', {}, h('code', {}, url), ' ', copyButton(url, protocol))),
  );
  const first = addresses.at(-1);
  const sender = tenant === '' ? 'TENANT' : encodeURIComponent(tenant);
  const lines = [
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${first?.url ?? ''}`,
    `export OTEL_EXPORTER_OTLP_PROTOCOL=${first?.sdkProtocol ?? ''}`,
    ...(facts.multitenancy ? [`export OTEL_EXPORTER_OTLP_HEADERS=X-Scope-OrgID=${sender}`] : []),
  ].join('\n');
  const grafana = new URL(`.${facts.apiPrefix}/`, location.href).href.replace(/\?.*$|\/$/g, '');
  return [
    h(
      'dl',
      { class: 'facts' },
      ...rows,
      h(
        'div',
        {},
        h('dt', {}, 'Grafana, data source'),
        h('dd', {}, h('code', {}, grafana), ' ', copyButton(grafana, 'the address')),
      ),
    ),
    h('p', {}, 'Any OpenTelemetry SDK:'),
    h('pre', {}, lines),
    copyButton(lines, 'the variables'),
  ];
}
