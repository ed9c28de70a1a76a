// What the fuzzer is made of: a seeded source of chance, bytes and texts that are almost right, and valid
// requests to begin with.
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { aSpan, type Attribute, encodeTraces, hexId, type TestSpan, type Value } from './otlp.ts';

export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number in [0, max). */
  below(max: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let h = Math.imul(this.#state ^ (this.#state >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 0) % max;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** True once in so many. */
  once(many: number): boolean {
    return this.below(many) === 0;
  }

  times(max: number): number[] {
    return Array.from({ length: this.below(max + 1) }, (_, i) => i);
  }
}

/** Numbers at which programs go wrong. */
export const NUMBERS: readonly string[] = [
  '0',
  '-0',
  '1',
  '-1',
  '2',
  '20',
  '255',
  '65536',
  '2147483647',
  '2147483648',
  '-2147483648',
  '4294967295',
  '4294967296',
  '9007199254740993',
  '9223372036854775807',
  '9223372036854775808',
  '18446744073709551616',
  '1e3',
  '1e308',
  '1e999',
  'NaN',
  'Infinity',
  '-Infinity',
  '0x10',
  '1_000',
  '1.5',
  '.5',
  '5.',
  '٣',
  ' 7',
  '7 ',
];

export const TEXTS: readonly string[] = [
  '',
  ' ',
  '.',
  '..',
  '../../etc/passwd',
  '/',
  '//',
  '\\',
  '%',
  '%00',
  '%2e%2e%2f',
  '\u0000',
  '\n',
  '\r\n\r\n',
  '"',
  "'",
  '`',
  '{',
  '}',
  '{}',
  '[]',
  'null',
  'undefined',
  'true',
  '__proto__',
  'constructor',
  'toString',
  '\ud800',
  'ß',
  '日本',
  '🙂',
  '\u202e',
  'a'.repeat(300),
  'é'.repeat(5000),
  '${HOME}',
  '$(id)',
  '<script>',
  '-- x',
];

const CODECS = { gzip: gzipSync, deflate: deflateSync, zstd: zstdCompressSync } as const;

/** Sometimes compressed, and sometimes with a name that is not the one. */
export function packed(chance: Chance, body: Uint8Array): { body: Uint8Array; encoding: string | undefined } {
  if (!chance.once(3)) return { body, encoding: undefined };
  const names = Object.keys(CODECS) as (keyof typeof CODECS)[];
  const name = chance.of(names);
  const bytes = CODECS[name](body);
  const told = chance.once(4) ? chance.of([...names, 'br', 'identity', 'snappy', 'lz4', 'GZIP', '']) : name;
  return { body: chance.once(4) ? mutated(chance, bytes) : bytes, encoding: told };
}

/** The same bytes but for a few changes. */
export function mutated(chance: Chance, bytes: Uint8Array): Uint8Array {
  let result = Buffer.from(bytes);
  for (let i = 0; i <= chance.below(4); i++) result = mutatedOnce(chance, result);
  return result;
}

function mutatedOnce(chance: Chance, bytes: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  if (bytes.length === 0) return Buffer.from([chance.below(256)]);
  const at = chance.below(bytes.length);
  const to = Math.min(bytes.length, at + 1 + chance.below(16));
  switch (chance.below(7)) {
    case 0:
      bytes[at] = bytes[at]! ^ (1 << chance.below(8));
      return bytes;
    case 1:
      bytes[at] = chance.of([0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12]);
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at)]);
    case 5: {
      const varint = Buffer.from(
        chance.of(['ffffffff0f', 'ffffffffffffffffff01', '8080808008', '80', '00']),
        'hex',
      );
      return Buffer.concat([bytes.subarray(0, at), varint, bytes.subarray(at)]);
    }
    default:
      bytes.fill(chance.below(256), at, to);
      return bytes;
  }
}

function aValue(chance: Chance, depth = 0): Value {
  const pick = chance.below(depth > 3 ? 6 : 9);
  if (pick === 0) return chance.of(TEXTS);
  if (pick === 1) return chance.once(2);
  if (pick === 2) return BigInt(chance.below(2 ** 31)) << BigInt(chance.below(33));
  if (pick === 3) return chance.of([0, -0, 1.5, NaN, Infinity, Number.MAX_VALUE, 5e-324]);
  if (pick === 4) return Buffer.from(chance.of(TEXTS));
  if (pick === 5) return undefined;
  if (pick === 6) return { kv: someAttributes(chance, depth + 1) };
  return chance.times(4).map(() => aValue(chance, depth + 1));
}

function someAttributes(chance: Chance, depth = 0): Attribute[] {
  const key = (): string =>
    chance.of(['http.method', 'http.status_code', 'user.id', 'name', ...TEXTS.slice(0, 35)]);
  return chance.times(6).map((): Attribute => [key(), aValue(chance, depth)]);
}

const TIMES = [
  0n,
  1n,
  1n << 63n,
  (1n << 64n) - 1n,
  9_223_372_036_854_775_807n,
  253_402_300_799_000_000_000n & ((1n << 64n) - 1n),
];

/** Spans of a few traces, with all that spans may have. */
function someSpans(chance: Chance): TestSpan[] {
  const nowNano = BigInt(Date.now()) * 1_000_000n;
  const time = (): bigint => (chance.once(8) ? chance.of(TIMES) : nowNano + BigInt(chance.below(1e9)));
  return Array.from({ length: 1 + chance.below(20) }, () =>
    aSpan({
      traceId: hexId(BigInt(1 + chance.below(2 ** 31)) << BigInt(chance.below(96)), 16),
      spanId: hexId(1 + chance.below(1000), 8),
      parentSpanId: chance.once(3) ? '' : hexId(chance.below(1000), 8),
      name: chance.of(TEXTS),
      kind: chance.below(8),
      startUnixNano: time(),
      endUnixNano: time(),
      attributes: someAttributes(chance),
      events: chance.times(2).map(() => ({
        timeUnixNano: time(),
        name: chance.of(TEXTS),
        attributes: someAttributes(chance),
        droppedAttributes: chance.below(3),
      })),
      links: chance.times(2).map(() => ({
        traceId: hexId(chance.below(100), 16),
        spanId: hexId(chance.below(100), 8),
        traceState: chance.of(TEXTS),
        attributes: someAttributes(chance),
        droppedAttributes: chance.below(3),
      })),
      status: { code: chance.below(5), message: chance.of(TEXTS) },
    }),
  );
}

/** An export request that is valid, or was before some of its bytes were changed. */
export function aRequest(chance: Chance): Uint8Array {
  const bytes = encodeTraces(someSpans(chance));
  return chance.once(3) ? bytes : mutated(chance, bytes);
}

const JSON_REQUEST = {
  resourceSpans: [
    {
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
      scopeSpans: [
        {
          scope: { name: 'lib', version: '1' },
          spans: [
            {
              traceId: '5b8efff798038103d269b633813fc60c',
              spanId: 'eee19b7ec3c1b174',
              parentSpanId: '',
              name: 'op',
              kind: 2,
              startTimeUnixNano: '1767225600000000000',
              endTimeUnixNano: '1767225601000000000',
              attributes: [
                { key: 'a', value: { intValue: '1' } },
                { key: 'b', value: { arrayValue: { values: [{ doubleValue: 1.5 }, { boolValue: true }] } } },
                {
                  key: 'c',
                  value: { kvlistValue: { values: [{ key: 'd', value: { bytesValue: 'aGk=' } }] } },
                },
              ],
              events: [{ timeUnixNano: '1767225600000000001', name: 'e', attributes: [] }],
              links: [{ traceId: '5b8efff798038103d269b633813fc60c', spanId: 'eee19b7ec3c1b174' }],
              status: { code: 2, message: 'm' },
            },
          ],
        },
      ],
    },
  ],
};

/** JSON of an export request in which some values are others than they should be. */
export function aJsonRequest(chance: Chance): string {
  const other = (): unknown =>
    chance.of<unknown>([
      null,
      0,
      -1,
      1e308,
      '',
      [],
      {},
      [[]],
      [null],
      true,
      chance.of(TEXTS),
      chance.of(NUMBERS),
    ]);
  const copy = (value: unknown): unknown => {
    if (chance.once(25)) return other();
    if (Array.isArray(value)) return value.flatMap((item) => (chance.once(30) ? [] : [copy(item)]));
    if (typeof value !== 'object' || value === null) return value;
    const entries = Object.entries(value).map(([key, item]) => [
      chance.once(30) ? chance.of(TEXTS) : key,
      copy(item),
    ]);
    return Object.fromEntries(entries);
  };
  const text = JSON.stringify(copy(JSON_REQUEST)) ?? '';
  return chance.once(4) ? Buffer.from(mutated(chance, Buffer.from(text))).toString() : text;
}

const WORDS: readonly string[] = [
  '{ } ( ) && || ! = != < <= > >= =~ !~ + - * / % ^ | >> << > < ~ &>> !>> . : ,',
  'name status kind duration rootName nestedSetLeft span.a resource.service.name .http.method parent.x',
  'event:name link:traceID span:id trace:duration instrumentation:name nil true false error server',
  'count() avg(duration) by(name) select(name) coalesce() rate() quantile_over_time(duration,.9) with(a=1)',
  '"text" `raw` "a.*(b|c)+$" 1 1.5 -3 10ms 1h 99999999999999999999 1e400',
]
  .join(' ')
  .split(' ');

/** Something like TraceQL. */
export function aQuery(chance: Chance): string {
  const sound = [
    '{}',
    '{ name = "op" }',
    '{ span.a = 1 } >> { status = error } | count() > 1',
    '{ .b =~ "x.*" }',
  ];
  if (chance.once(3)) return chance.of(sound);
  const words = Array.from({ length: 1 + chance.below(14) }, () =>
    chance.of([...WORDS, ...TEXTS.slice(0, 33)]),
  );
  const text = words.join(chance.of([' ', '']));
  return chance.once(2) ? `{ ${text} }` : text;
}
