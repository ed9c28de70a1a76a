// Spans that use every column of a block, with values of every kind.
import type { DedicatedColumn } from '../../src/block/meta.ts';
import { aResource, aScope, aTrace, type Attribute, hexId, START_NANO, type TestSpan } from './otlp.ts';

/** Dedicated columns of every kind, for attributes of `everyAttribute` and `everyColumn`. */
export const EVERY_DEDICATED: readonly DedicatedColumn[] = (
  [
    ['resource', 'k8s.pod.name', 'string'],
    ['resource', 'strings', 'string', 'array'],
    ['resource', 'int', 'int'],
    ['resource', 'service.name', 'string'],
    ['span', 'http.method', 'string'],
    ['span', 'text', 'string', 'blob'],
    ['span', 'strings', 'string', 'array'],
    ['span', 'ints', 'int', 'array'],
    ['span', 'http.url', 'string'],
    ['span', 'http.status_code', 'int'],
    ['span', 'mixed', 'string'],
    ['span', 'empty', 'string'],
    ['event', 'text', 'string', 'blob', 'array'],
    ['event', 'small', 'int'],
    ['event', 'one', 'string'],
    ['event', 'ints', 'int'],
  ] as const
).map(([scope, name, type, ...options]) => ({ scope, name, type, options }));

/** A value of every kind. */
export function everyAttribute(n: number): Attribute[] {
  return [
    ['text', 'ä'.repeat(n % 50)],
    ['bool', n % 2 === 0],
    ['small', BigInt(n)],
    ['int', -(2n ** 62n) - BigInt(n)],
    ['double', n / 3],
    ['bytes', new Uint8Array([0, n, 255])],
    ['strings', ['a', `b${n}`, 'a']],
    ['ints', [1n, 2n ** 40n + BigInt(n)]],
    ['bools', [true, n % 2 === 0]],
    ['doubles', [0.5, n]],
    ['one', ['only']],
    ['mixed', ['a', 1n, true, 1.5, new Uint8Array([1]), undefined]],
    ['nested', [['a'], []]],
    ['empty', []],
    [
      'map',
      {
        kv: [
          ['k', 'v'],
          ['', { kv: [] }],
          ['none', undefined],
        ],
      },
    ],
    ['nothing', undefined],
    ['', 'no key'],
    ['text', 'again'],
  ];
}

/** Attributes that have columns of their own, of the right and of wrong types, and repeated. */
export function everyColumn(n: number): Attribute[] {
  return [
    ['http.method', 'GET'],
    ['http.method', 'POST'],
    ['http.url', n % 3 === 0 ? 7n : `http://h/${n}`],
    ['http.status_code', n % 3 === 1 ? '200' : BigInt(200 + n)],
    ['http.request.method', 'PUT'],
    ['url.path', ['a', 'b']],
    ['url.route', true],
    ['server.address', ''],
    ['http.route', `/r/${n}`],
  ];
}

/** Traces that use every column, some of whose spans come late: in the second request. */
export function everyTrace(count: number): TestSpan[][] {
  const resources = [
    aResource('shop', [['cluster', 'c1'], ['pod', 5n], ['k8s.pod.name', 'p'], ...everyAttribute(1)]),
    aResource('cart', [
      ['namespace', 'n'],
      ['service.name', 'second'],
    ]),
    { attributes: [['service.name', 7n]] as [string, bigint][], droppedAttributes: 4 },
  ];
  const scopes = [aScope(), { name: '', version: '', attributes: everyAttribute(2), droppedAttributes: 3 }];
  const traces = Array.from({ length: count }, (_, id) =>
    aTrace(id * 7919 + 1, (id % 9) + 1, (i) => ({
      kind: i % 6,
      status: { code: i % 3, message: i % 3 === 2 ? `broken ${i}` : '' },
      traceState: i % 4 === 0 ? 'a=b' : '',
      attributes: i % 5 === 4 ? [] : [...everyAttribute(i + id), ...everyColumn(i)],
      droppedAttributes: i % 7 === 3 ? i : 0,
      droppedEvents: i % 7 === 4 ? 2 : 0,
      droppedLinks: i % 7 === 5 ? 3 : 0,
      events: Array.from({ length: i % 3 }, (_, e) => ({
        timeUnixNano: START_NANO + BigInt(e) * 1500n, // the first is before the span's start
        name: `event ${e}`,
        attributes: e === 0 ? [] : everyAttribute(e),
        droppedAttributes: e,
      })),
      links: Array.from({ length: i % 4 === 1 ? 2 : 0 }, (_, l) => ({
        traceId: 'ff'.repeat(16),
        spanId: hexId(l + 1, 8),
        traceState: l === 0 ? '' : 'c=d',
        attributes: l === 0 ? everyAttribute(l) : [],
        droppedAttributes: l,
      })),
      resource: resources[i % 3]!,
      scope: scopes[i % 2]!,
    })),
  );
  const spans = traces.flat();
  return [spans.filter((_, i) => i % 3 !== 0), spans.filter((_, i) => i % 3 === 0)];
}
