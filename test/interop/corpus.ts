// The spans that both programs get: a folder of requests that CORPUS names, or traces made here, which use
// every part of the data model and the vocabulary of searches.ts. Made spans are minutes old and follow from
// a seed, CORPUS_SEED.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  aSpan,
  type Attribute,
  encodeTraces,
  hexId,
  type TestEvent,
  type TestLink,
  type TestResource,
  type TestScope,
  type TestSpan,
  type Value,
} from '../support/otlp.ts';

export interface Corpus {
  /** ExportTraceServiceRequests. */
  readonly requests: readonly Uint8Array[];
  /** 32 hex digits each. */
  readonly traceIds: readonly string[];
  /** Unix seconds that cover every span. */
  readonly startSec: number;
  readonly endSec: number;
  /** True of what is made here: then nearly every search finds something. */
  readonly isMade: boolean;
}

export function loadCorpus(folder = process.env['CORPUS']): Corpus {
  return folder === undefined ? makeCorpus() : readCorpus(folder);
}

function readCorpus(folder: string): Corpus {
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    start: number;
    end: number;
  };
  const files = readdirSync(folder).filter((name) => name.endsWith('.pb'));
  return {
    requests: files.toSorted().map((name) => new Uint8Array(readFileSync(join(folder, name)))),
    traceIds: readFileSync(join(folder, 'ids.txt'), 'utf8').split(/\s+/).filter(Boolean),
    startSec: manifest.start,
    endSec: manifest.end,
    isMade: false,
  };
}

const TRACES = 240;
const REQUESTS = 8;
const AGE_SEC = 900;
const WINDOW_SEC = 480;

/** Of the first span: an id that begins with a zero byte. */
export const ZERO_SPAN_ID = '00abcdef01234567';

const SERVICES = ['gateway', 'frontend', 'cart', 'checkout', 'payment', 'fraud', 'email', 'Größe ✓'];
const REGIONS = ['eu-west-1', 'eu-central-1', 'us-east-1'];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE'];
const ROUTES = ['/login', '/graphql', '/api/v1/orders/{id}', '/api/v2/search'];
const FLAGS = ['beta', 'dark-mode', 'ab-7', 'ab-8'];
const TABLES = ['orders', 'stock', 'payments'];
const EXCEPTIONS = ['IOError', 'OutOfStockError', 'java.net.SocketTimeoutException'];

let state = Number(process.env['CORPUS_SEED'] ?? 4711);
function below(limit: number): number {
  state = (state * 48271) % 0x7fffffff;
  return state % limit;
}
const oneOf = <T>(values: readonly T[]): T => values[below(values.length)]!;
const isRare = (oneIn: number): boolean => below(oneIn) === 0;
/** None to three. */
const someOf = (make: () => Value): Value[] => Array.from({ length: below(4) }, make);
const id = (bytes: number): string =>
  Array.from({ length: bytes }, (_, i) => hexId(below(i === 0 ? 255 : 256) + (i === 0 ? 1 : 0), 1)).join('');

const RESOURCES: readonly TestResource[] = SERVICES.flatMap((service, s) =>
  REGIONS.map((region, r) => ({
    attributes: [
      ['service.name', service],
      ['service.namespace', 'shop'],
      ['cloud.region', region],
      ['k8s.namespace.name', `shop-${service}`],
      ['k8s.pod.name', `${service}-${r}`],
      ['deployment.environment', r === 2 ? 'staging' : 'production'],
      ['process.pid', BigInt(1000 * (s * 3 + r))],
      ['host.cores', 0.5 * (s + 1)],
      ['host.spot', r === 1],
      ['process.args', ['--port', `${8000 + s}`]],
      ...(s % 2 === 0 ? ([['telemetry.sdk.language', s % 4 === 0 ? 'go' : 'java']] as Attribute[]) : []),
    ],
    droppedAttributes: r,
  })),
);

const SCOPES: readonly TestScope[] = ['otelhttp', 'otelsql', 'otelkafka', ''].map((name, i) => ({
  name,
  version: name === '' ? '' : `0.${40 + i}.0`,
  attributes:
    name === ''
      ? []
      : [
          ['scope.lib', name],
          ['scope.level', BigInt(i)],
        ],
  droppedAttributes: i,
}));

/** Values that are easily damaged; search does not ask for them, trace by id shows them. */
const ODD_VALUES: readonly Attribute[] = [
  ['odd.empty', ''],
  ['odd.min', -(2n ** 63n)],
  ['odd.max', 2n ** 63n - 1n],
  ['odd.negative', -1n],
  ['odd.huge', 1.7976931348623157e308],
  ['odd.tiny', 5e-324],
  ['odd.minus-zero', -0],
  ['odd.bytes', Uint8Array.of(0, 127, 128, 255)],
  ['odd.none', undefined],
  ['odd.list-empty', []],
  ['odd.list-mixed', ['a', 1n, 2.5, true]],
  ['odd.list-nested', [['a'], ['b', 'c']]],
  [
    'odd.map',
    {
      kv: [
        ['k', 'v'],
        ['n', 1n],
        ['inner', { kv: [['deep', [true, false]]] }],
      ],
    },
  ],
  ['odd.text', 'line\nbreak "quoted" \\ \u0001 \u2028 \u{1f600}'],
  ['odd key "with" spaces', 'x'],
];

function serverAttributes(): Attribute[] {
  const method = oneOf(METHODS);
  const route = oneOf(ROUTES);
  const attributes: Attribute[] = [
    ['http.method', method],
    ['http.route', route],
    ['http.url', `https://shop.example${route}?id=${below(50)}`],
    ['http.status_code', BigInt(oneOf([200, 200, 201, 404, 500, 503]))],
    ['http.response_content_length', BigInt(below(200_000))],
    ['http.cached', isRare(4)],
  ];
  if (isRare(3)) attributes.push(['user.id', `user-${below(40)}`], ['region', oneOf(REGIONS)]);
  if (isRare(3)) attributes.push(['app.flags', someOf(() => oneOf(FLAGS))]);
  if (isRare(4)) attributes.push(['app.shards', someOf(() => BigInt(below(8)))]);
  if (isRare(6)) attributes.push(['app.weights', [0.5, below(10) / 4]], ['app.switches', [true, isRare(2)]]);
  if (isRare(6)) attributes.push(['service.name', 'on-the-span']);
  return attributes;
}

function innerAttributes(): Attribute[] {
  const attributes: Attribute[] = [
    ['code.function', oneOf(['render', 'rank', 'encode'])],
    ['thread.id', BigInt(below(64))],
    ['cache.hit', isRare(2)],
    ['app.score', below(1001) / 1000],
  ];
  // one key with several types
  if (isRare(3))
    attributes.push(['peer.id', oneOf<Value>([BigInt(below(9)), `${below(9)}`, below(9) / 2, true])]);
  return attributes;
}

function clientAttributes(): Attribute[] {
  const table = oneOf(TABLES);
  return [
    ['db.system', oneOf(['mysql', 'redis', 'postgresql'])],
    ['db.sql.table', table],
    ['db.statement', `SELECT * FROM ${table}\nWHERE id = ${below(100)} LIMIT ${10 * below(10)}`],
    ['db.rows', BigInt(below(1000))],
  ];
}

function messageAttributes(): Attribute[] {
  return [
    ['messaging.system', 'kafka'],
    ['messaging.kafka.partition', BigInt(below(16))],
  ];
}

const SHAPES = [
  { kind: 1, scope: 3, name: () => oneOf(['render', 'rank']), attributes: innerAttributes },
  { kind: 2, scope: 0, name: () => `${oneOf(METHODS)} ${oneOf(ROUTES)}`, attributes: serverAttributes },
  { kind: 3, scope: 1, name: () => `SELECT ${oneOf(TABLES)}`, attributes: clientAttributes },
  { kind: 4, scope: 2, name: () => 'audit publish', attributes: messageAttributes },
  { kind: 5, scope: 2, name: () => 'audit process', attributes: messageAttributes },
  { kind: 0, scope: 3, name: () => '', attributes: () => [] },
] as const;

function event(start: bigint, lengthNanos: bigint, isError: boolean): TestEvent {
  const attributes: Attribute[] = isError
    ? [
        ['exception.type', oneOf(EXCEPTIONS)],
        ['exception.message', `after ${below(5000)} ms`],
      ]
    : [
        ['step', BigInt(below(5))],
        ['ratio', below(5) / 4],
        ['last', isRare(2)],
      ];
  return {
    timeUnixNano: start + lengthNanos / BigInt(1 + below(5)),
    name: isError ? 'exception' : 'checkpoint',
    attributes,
    droppedAttributes: below(2),
  };
}

function linkTo(span: TestSpan): TestLink {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    traceState: 'vendor=1',
    attributes: [
      ['link.type', 'follows_from'],
      ['link.weight', BigInt(below(4))],
    ],
    droppedAttributes: 1,
  };
}

/** What ties a span to the others of its trace. */
interface Place {
  readonly traceId: string;
  readonly spanId: string;
  readonly parent: TestSpan | undefined;
  readonly parentSpanId: string;
  readonly shape: (typeof SHAPES)[number];
  readonly start: bigint;
  readonly resource: TestResource;
}

function makeTrace(startUnixNano: bigint, number: number): TestSpan[] {
  const traceId = id(16);
  const spans: TestSpan[] = [];
  const count = 1 + below(24);
  let hasTwin = false;
  for (let i = 0; i < count; i++) {
    // every 15th trace has two roots
    const isRoot = i === 0 || (i === 3 && number % 15 === 7);
    const parent = isRoot ? undefined : spans[below(spans.length)]!;
    const shape = SHAPES[i === 0 ? 1 : below(SHAPES.length)]!;
    // a client and its server may share an id
    const twin: TestSpan | undefined =
      !hasTwin && shape.kind === 2 && parent?.kind === 3 && isRare(2) ? parent : undefined;
    hasTwin ||= twin !== undefined;
    const ownId = number === 0 && i === 0 ? ZERO_SPAN_ID : id(8);
    const start = (parent?.startUnixNano ?? startUnixNano) + BigInt(below(9_000_000));
    const resource = RESOURCES[i === 0 ? below(6) : below(RESOURCES.length)]!;
    const spanId = twin?.spanId ?? ownId;
    const parentSpanId = (twin === undefined ? parent?.spanId : twin.parentSpanId) ?? '';
    spans.push(makeSpan({ traceId, spanId, parent, parentSpanId, shape, start, resource }));
  }
  // every 20th has lost its root
  return number % 20 === 19 && spans.length > 1 ? spans.slice(1) : spans;
}

function makeSpan({ traceId, spanId, parent, parentSpanId, shape, start, resource }: Place): TestSpan {
  const lengthNanos = BigInt(below(isRare(10) ? 2_000_000_000 : 200_000_000));
  const isError = isRare(6);
  const events = Array.from({ length: isError ? 2 : below(2) }, (_, e) =>
    event(start, lengthNanos, isError && e === 0),
  );
  return aSpan({
    traceId,
    spanId,
    parentSpanId,
    traceState: isRare(5) ? 'vendor=2' : '',
    name: shape.name(),
    kind: shape.kind,
    startUnixNano: start,
    endUnixNano: start + lengthNanos,
    attributes: [...shape.attributes(), ...(isRare(8) ? ODD_VALUES : [])],
    droppedAttributes: below(2),
    events,
    droppedEvents: below(2),
    links: parent !== undefined && shape.kind === 5 ? [linkTo(parent)] : [],
    droppedLinks: below(2),
    status: isError ? { code: 2, message: oneOf(EXCEPTIONS) } : { code: below(2), message: '' },
    resource,
    scope: SCOPES[shape.scope]!,
  });
}

function makeCorpus(): Corpus {
  const startSec = Math.floor(Date.now() / 1000) - AGE_SEC;
  const traces = Array.from({ length: TRACES }, (_, i) => {
    const ms = Math.floor((i * WINDOW_SEC * 1000) / TRACES);
    return makeTrace(BigInt(startSec) * 1_000_000_000n + BigInt(ms) * 1_000_000n, i);
  });
  // Spans of a trace come in several requests.
  const parts: TestSpan[][] = Array.from({ length: REQUESTS }, () => []);
  for (const span of traces.flat()) parts[below(REQUESTS)]!.push(span);
  return {
    requests: parts.map((spans) => encodeTraces(spans)),
    traceIds: traces.map((spans) => spans[0]!.traceId),
    startSec,
    endSec: startSec + WINDOW_SEC + 60,
    isMade: true,
  };
}
