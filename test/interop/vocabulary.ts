// The fields of the made corpus (corpus.ts) for random queries.
import type { RandomField, Vocabulary } from '../support/random-query.ts';
import { ZERO_SPAN_ID } from './corpus.ts';

const quoted = (texts: string): string[] => texts.split('|').map((text) => `"${text}"`);
const words = (texts: string): string[] => texts.split(' ');
const WORD_DURATIONS = words('1ms 500us 1.5ms 20ms 50ms 100ms 150ms 0.2s 1s 1m30s');

const attributes: readonly RandomField[] = [
  {
    names: words('resource.service.name .service.name'),
    type: 'string',
    values: [...quoted('payment|cart|frontend|gateway|on-the-span|none'), '"Gr\\u00f6\\u00dfe ✓"', '`cart`'],
  },
  {
    names: words('resource.cloud.region .cloud.region span.region .region'),
    type: 'string',
    values: quoted('eu-west-1|eu-central-1|us-east-1|x'),
  },
  {
    names: words('resource.k8s.namespace.name resource.k8s.pod.name .k8s.pod.name'),
    type: 'string',
    values: quoted('shop-cart|cart-0|payment-1|shop-fraud'),
  },
  {
    names: words('resource.deployment.environment .deployment.environment resource.telemetry.sdk.language'),
    type: 'string',
    values: quoted('production|staging|go|java'),
  },
  {
    names: words('span.http.method .http.method span.http.url .http.url span.http.route'),
    type: 'string',
    values: quoted('GET|POST|DELETE|/login|https://shop.example/login?id=7'),
  },
  {
    names: words('span.db.system .db.system span.db.sql.table span.db.statement'),
    type: 'string',
    values: quoted('mysql|redis|stock|orders|SELECT * FROM stock\\nWHERE id = 7 LIMIT 50'),
  },
  { names: words('span.user.id .user.id'), type: 'string', values: quoted('user-7|user-12|user-3') },
  { names: words('span.code.function .code.function'), type: 'string', values: quoted('render|rank|encode') },
  { names: words('span.app.flags .app.flags'), type: 'string', values: quoted('beta|ab-7|ab-8|none') },
  { names: ['resource.process.args'], type: 'string', values: quoted('--port|8001|8003') },
  { names: ['span.peer.id'], type: 'any', values: words('3 "3" 1.5 true 8 "x" 4.0') },
  {
    names: words('span.http.status_code .http.status_code'),
    type: 'int',
    values: words('200 201 404 500 503 -1 maxInt'),
  },
  {
    names: words('span.http.response_content_length span.db.rows .db.rows'),
    type: 'int',
    values: words('0 10 500 900 100000 199999'),
  },
  {
    names: words('span.thread.id span.messaging.kafka.partition .thread.id'),
    type: 'int',
    values: words('0 1 7 12 33'),
  },
  { names: ['span.app.shards'], type: 'int', values: words('0 1 3 5 7') },
  { names: ['resource.process.pid'], type: 'int', values: words('0 1000 7000 15000 23000') },
  {
    names: words('span.odd.min span.odd.max span.odd.negative'),
    type: 'int',
    values: words('minInt maxInt -1 0'),
  },
  {
    names: words('span.app.score .app.score'),
    type: 'float',
    values: words('.05 0.5 0.95 1.0 1e0 5e-1 0.25'),
  },
  {
    names: words('resource.host.cores span.app.weights'),
    type: 'float',
    values: words('0.5 1.5 2.0 .25 4.0'),
  },
  { names: words('span.odd.huge span.odd.tiny'), type: 'float', values: words('1e300 0.0 1.5') },
  {
    names: words('span.cache.hit .cache.hit span.http.cached resource.host.spot span.app.switches'),
    type: 'bool',
    values: words('true false'),
  },
  { names: ['span."odd key \\"with\\" spaces"', 'span.odd.empty'], type: 'string', values: quoted('x|') },
  { names: words('event.exception.type'), type: 'string', values: quoted('IOError|OutOfStockError|none') },
  { names: words('event.exception.message'), type: 'string', values: quoted('after 100 ms|x') },
  { names: words('event.step'), type: 'int', values: words('0 1 3 4 9') },
  { names: words('event.ratio'), type: 'float', values: words('0.0 .5 0.75 1.0') },
  { names: words('event.last'), type: 'bool', values: words('true false') },
  { names: words('link.link.type'), type: 'string', values: quoted('follows_from|x') },
  { names: words('link.link.weight'), type: 'int', values: words('0 1 2 3') },
  { names: words('instrumentation.scope.lib'), type: 'string', values: quoted('otelsql|otelhttp|otelkafka') },
  { names: words('instrumentation.scope.level'), type: 'int', values: words('0 1 2') },
];

const intrinsics: readonly RandomField[] = [
  {
    names: words('name span:name'),
    type: 'string',
    values: quoted('render|rank|GET /login|SELECT stock||audit publish'),
  },
  {
    names: words('statusMessage span:statusMessage'),
    type: 'string',
    values: quoted('IOError|OutOfStockError|'),
  },
  { names: words('rootName trace:rootName'), type: 'string', values: quoted('GET /login|POST /graphql|x') },
  { names: words('rootServiceName trace:rootService'), type: 'string', values: quoted('gateway|cart|x') },
  { names: words('duration span:duration'), type: 'duration', values: WORD_DURATIONS },
  { names: words('traceDuration trace:duration'), type: 'duration', values: WORD_DURATIONS },
  { names: words('status span:status'), type: 'status', values: words('error ok unset') },
  {
    names: words('kind span:kind'),
    type: 'kind',
    values: words('unspecified internal server client producer consumer'),
  },
  { names: ['nestedSetLeft', 'nestedSetRight'], type: 'int', values: words('1 2 3 9 20') },
  { names: ['nestedSetParent'], type: 'int', values: words('-1 1 2 9') },
  { names: ['span:childCount'], type: 'int', values: words('0 1 2 3') },
  {
    names: ['span:id', 'span:parentID'],
    type: 'id',
    values: [`"${ZERO_SPAN_ID}"`, '"0123456789abcdef"', '""'],
  },
  { names: ['trace:id'], type: 'id', values: quoted('0123456789abcdef0123456789abcdef|') },
  { names: ['event:name'], type: 'string', values: quoted('exception|checkpoint|x') },
  { names: ['event:timeSinceStart'], type: 'duration', values: WORD_DURATIONS },
  { names: ['link:traceID', 'link:spanID'], type: 'id', values: quoted('0123456789abcdef|') },
  { names: ['instrumentation:name'], type: 'string', values: quoted('otelsql|otelhttp||x') },
  { names: ['instrumentation:version'], type: 'string', values: quoted('0.40.0|0.41.0|') },
].map((field) => ({ ...field, isIntrinsic: true }) as RandomField);

export const VOCABULARY: Vocabulary = {
  fields: [...attributes, ...intrinsics],
  patterns: [
    '.*',
    '.*e.*',
    '(GET|POST).*',
    'c.*',
    '(?i)GET.*',
    '[a-f].*',
    '.*[0-9]+',
    'a|b|cart|beta',
    'ab-.',
    'SELECT .*stock.*',
    'user-1.?',
    '.+',
    '',
    'x*',
    '(otel)+.*',
  ],
};
