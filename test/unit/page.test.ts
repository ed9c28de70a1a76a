// The page: who gets it and with which headers, and the parts of it that need no browser.
import { gunzipSync } from 'node:zlib';
import fastify from 'fastify';
import t from 'tap';
import type { PageFacts } from '../../src/api/page-facts.ts';
import { pageFacts, registerPageRoutes } from '../../src/app/page-routes.ts';
import { rootBlock } from '../../src/app/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { agoText, countText, durationText, hueOf, lineText } from '../../src/ui/format.ts';
import { pageLink, stateOf } from '../../src/ui/page-state.ts';
import { type JsonTrace, queryFor, traceRows, valueText } from '../../src/ui/span-tree.ts';

const FACTS: PageFacts = { version: '"><b>', apiPrefix: '/x', multitenancy: true, sendTo: [] };
const HTML = { accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8' };

function appOf(facts = FACTS) {
  const app = fastify();
  registerPageRoutes(app, facts);
  return app;
}

t.test('browsers get a page, others what Tempo says', async (t) => {
  const app = appOf();
  for (const headers of [{}, { accept: '*/*' }, { accept: 'application/json' }]) {
    const { statusCode, body } = await app.inject({ url: '/', headers });
    t.same([statusCode, body], [404, '404 page not found\n']);
  }
  const page = await app.inject({ url: '/?trace=1', headers: HTML });
  t.equal(page.statusCode, 200);
  t.match(page.headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    vary: /Accept/,
  });
  const policy = String(page.headers['content-security-policy']);
  t.match(policy, "default-src 'none'; script-src 'self'; style-src 'self'");
  t.notMatch(policy, 'unsafe');
  t.notMatch(page.body, /<script>|<script [^>]*>[^<]|<style|style=|\son\w+=|\{\{/, 'nothing inline');
  const facts = /<meta name="tempo" content="([^"]*)">/.exec(page.body)?.[1] ?? '';
  const text = facts.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&amp;', '&');
  t.same(JSON.parse(text), FACTS);
  t.equal((await app.inject({ method: 'HEAD', url: '/', headers: HTML })).body, '');
});

t.test('its files have names that change with their content', async (t) => {
  const app = appOf();
  const { body } = await app.inject({ url: '/', headers: HTML });
  const files = [...body.matchAll(/(?:src|href)="(ui\/[^"]+)"/g)].map((match) => match[1] ?? '');
  t.same(new Set(files.map((file) => file.split('/').at(-1))), new Set(['icon.svg', 'style.css', 'app.ts']));
  for (const file of files) {
    const plain = await app.inject({ url: `/${file}` });
    t.equal(plain.statusCode, 200, file);
    t.match(plain.headers['cache-control'], 'immutable');
    const small = await app.inject({ url: `/${file}`, headers: { 'accept-encoding': 'br, gzip' } });
    t.equal(small.headers['content-encoding'], 'gzip');
    t.equal(gunzipSync(small.rawPayload).toString(), plain.body);
  }
  const folder = files[0]?.split('/')[1] ?? '';
  const script = await app.inject({ url: `/ui/${folder}/app.ts` });
  t.equal(script.headers['content-type'], 'text/javascript; charset=utf-8');
  t.notMatch(script.body, /import type|: PageState|as PageFacts/, 'types are gone');
  const bad = [`/ui/${folder}/index.html`, `/ui/${folder}/tsconfig.json`, '/ui/0/app.ts'];
  const outside = [`/ui/${folder}/..%2f..%2fpackage.json`, `/ui/${folder}/`, '/ui', '/unknown'];
  for (const url of [...bad, ...outside]) t.equal((await app.inject({ url })).statusCode, 404, url);
});

t.test('what the page is told', (t) => {
  const told = (yaml: string): PageFacts => {
    const { config } = loadConfig(rootBlock, {
      file: { name: 't.yaml', text: yaml },
      env: undefined,
      flags: [],
    });
    return pageFacts(config, config.multitenancyEnabled);
  };
  const otlp = (protocols: string): string =>
    `distributor: { receivers: { otlp: { protocols: { ${protocols} } } } }`;
  const cases = [
    {
      yaml: 'http_api_prefix: /tempo',
      want: {
        apiPrefix: '/tempo',
        multitenancy: false,
        sendTo: [{ protocol: 'OTLP over gRPC', host: '', port: 4317, tls: false }],
      },
    },
    {
      yaml: 'distributor: { receivers: { jaeger: { protocols: { grpc: } } } }',
      want: { sendTo: { length: 0 } },
    },
    { yaml: 'multitenancy_enabled: true', want: { multitenancy: true } },
    {
      yaml: otlp('grpc: { endpoint: 0.0.0.0:1 }, http: { endpoint: "tempo.example:2" }'),
      want: {
        sendTo: [
          { protocol: 'OTLP over gRPC', host: '', port: 1, tls: false },
          { protocol: 'OTLP over HTTP', host: 'tempo.example', port: 2, tls: false },
        ],
      },
    },
    { yaml: otlp('grpc: { endpoint: "[::]:3" }'), want: { sendTo: [{ host: '', port: 3 }] } },
    { yaml: otlp('grpc: { endpoint: 127.0.0.1:4 }'), want: { sendTo: [{ host: '', port: 4 }] } },
    { yaml: otlp('http:'), want: { sendTo: [{ host: '', port: 4318, sdkProtocol: 'http/protobuf' }] } },
  ];
  for (const { yaml, want } of cases) t.match(told(yaml), want, yaml);
  t.end();
});

t.test('addresses are states', (t) => {
  const states = [
    { search: '', link: './' },
    { search: '?trace=ab', link: './?trace=ab' },
    { search: '?q=%7B+a+%7D&since=60', link: './?q=%7B+a+%7D&since=60' },
    { search: '?q=&since=-5&trace=+ab+&tenant=a%26b', link: './?trace=ab&tenant=a%26b' },
    { search: '?trace=javascript:alert(1)', link: './?trace=javascript%3Aalert%281%29' },
  ];
  for (const { search, link } of states) t.equal(pageLink(stateOf(search)), link, search);
  t.end();
});

const id = (n: number): string => Buffer.from(n.toString(16).padStart(16, '0'), 'hex').toString('base64');

function traceOf(...spans: readonly (readonly [n: number, parent: number, startMs: number])[]): JsonTrace {
  const json = spans.map(([n, parent, startMs]) => ({
    spanId: id(n),
    ...(parent === 0 ? {} : { parentSpanId: id(parent) }),
    name: `s${n}`,
    startTimeUnixNano: `${1_800_000_000_000 + startMs}000000`,
    endTimeUnixNano: `${1_800_000_000_000 + startMs + 10}000000`,
  }));
  return { resourceSpans: [{ scopeSpans: [{ spans: json }] }] };
}

t.test('rows of a trace', (t) => {
  const shape = (trace: JsonTrace): string =>
    traceRows(trace)
      .rows.map(({ name, depth, below, isOrphan }) => `${name}/${depth}/${below}${isOrphan ? '?' : ''}`)
      .join(' ');
  const cases = [
    { name: 'empty', trace: {}, want: '' },
    {
      name: 'siblings by time',
      trace: traceOf([1, 0, 0], [2, 1, 9], [3, 1, 5]),
      want: 's1/0/2 s3/1/0 s2/1/0',
    },
    { name: 'deep', trace: traceOf([3, 2, 2], [2, 1, 1], [1, 0, 0]), want: 's1/0/2 s2/1/1 s3/2/0' },
    { name: 'parent missing', trace: traceOf([2, 9, 1], [1, 0, 0]), want: 's1/0/0 s2/0/0?' },
    { name: 'its own parent', trace: traceOf([1, 1, 0]), want: 's1/0/0' },
    { name: 'a circle', trace: traceOf([1, 2, 0], [2, 1, 1]), want: 's1/0/1 s2/1/0' },
    { name: 'an id twice', trace: traceOf([1, 0, 0], [1, 0, 5], [2, 1, 6]), want: 's1/0/1 s2/1/0 s1/0/0' },
  ];
  for (const { name, trace, want } of cases) t.equal(shape(trace), want, name);
  const chain = Array.from({ length: 50_000 }, (_, n) => [n + 1, n, n] as const);
  const { rows, durationMs, startUnixMs } = traceRows(traceOf(...chain));
  t.same([rows.length, rows.at(-1)?.depth, rows[0]?.below], [50_000, 49_999, 49_999], 'no recursion');
  t.equal(durationMs, 50_009);
  t.equal(startUnixMs, 1_800_000_000_000);
  const numbered = traceRows({ resourceSpans: [{ scopeSpans: [{ spans: [{ spanId: 'AQ==', kind: 7 }] }] }] });
  t.equal(numbered.rows[0]?.kind, '7', 'a kind without a name');
  const odd = traceRows({
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'service.name', value: { intValue: '7' } }] },
        scopeSpans: [
          {
            scope: { name: 'lib', version: '1' },
            spans: [
              {
                startTimeUnixNano: '5000000',
                endTimeUnixNano: '4000000',
                events: [{ timeUnixNano: '6500000' }],
              },
              { endTimeUnixNano: 'soon', links: [{}], status: { code: 'STATUS_CODE_ERROR' } },
            ],
          },
        ],
      },
    ],
  });
  t.match(odd.rows, [
    { service: '7', scope: 'lib 1', durationMs: 0, startMs: 0, events: [{ atMs: 1.5 }] },
    { isError: true, durationMs: 0, startMs: 0, links: [{ traceId: '', spanId: '' }] },
  ]);
  t.same([odd.errors, [...odd.services]], [1, [['7', 2]]]);
  t.end();
});

t.test('values and the queries that find them', (t) => {
  const values = [
    { value: { stringValue: 'a"b' }, text: 'a"b', query: '{ span.k = "a\\"b" }' },
    { value: { intValue: '5' }, text: '5', query: '{ span.k = 5 }' },
    {
      value: { intValue: '9007199254740993' },
      text: '9007199254740993',
      query: '{ span.k = 9007199254740993 }',
    },
    { value: { doubleValue: 1.5 }, text: '1.5', query: '{ span.k = 1.5 }' },
    { value: { boolValue: false }, text: 'false', query: '{ span.k = false }' },
    { value: { bytesValue: 'AQ==' }, text: 'base64 AQ==', query: undefined },
    { value: { arrayValue: { values: [{ stringValue: 'a' }, {}] } }, text: '["a",null]', query: undefined },
    {
      value: {
        kvlistValue: {
          values: [
            { key: '__proto__', value: { intValue: '1' } },
            { key: '', value: {} },
          ],
        },
      },
      text: '{"__proto__":1,"":null}',
      query: undefined,
    },
    { value: undefined, text: 'null', query: undefined },
    { value: { stringValue: 'x'.repeat(500) }, text: 'x'.repeat(500), query: undefined },
  ];
  for (const { value, text, query } of values) {
    t.equal(valueText(value), text);
    t.equal(queryFor('span', 'k', value), query);
  }
  t.equal(queryFor('resource', 'a b', { intValue: '1' }), '{ resource."a b" = 1 }');
  t.end();
});

t.test('numbers as people read them', (t) => {
  const durations = [0, 0.0004, 0.0123, 1, 12.345, 999.9, 1000, 61_000, 3_600_000, 90_000_000].map(
    durationText,
  );
  const want = [
    '0 µs',
    '0.4 µs',
    '12.3 µs',
    '1 ms',
    '12.3 ms',
    '1000 ms',
    '1 s',
    '1.02 min',
    '1 h',
    '1.04 d',
  ];
  t.same(durations, want);
  t.same([0, -5, 1500, 7_200_000].map(agoText), ['just now', 'just now', '1 s ago', '2 h ago']);
  t.same([countText(1, 'span'), countText(2000, 'span')], ['1 span', '2,000 spans']);
  t.equal(lineText('abcdef', 3), 'abc…');
  const hues = new Set(['gateway', 'cart', 'checkout', 'payment', 'shipping', 'a', 'b', 'c'].map(hueOf));
  t.equal(hues.size, 8, 'few services have different colours');
  t.equal(hueOf('cart'), hueOf('cart'));
  t.ok(
    [...hues].every((hue) => hue >= 45 && hue <= 330),
    'none is the red of errors',
  );
  t.end();
});
