// Random traces with few names and values, so that random queries find something: every type of value,
// arrays, events, links, spans without their parent, and times at which programs go wrong.
import type { Chance } from './fuzz.ts';
import { aSpan, type Attribute, hexId, START_NANO, type TestSpan, type Value } from './otlp.ts';
import type { Vocabulary } from './random-query.ts';

const quoted = (texts: readonly string[]): string[] => texts.map((text) => JSON.stringify(text));
const WORDS = ['a', 'b', 'Größe ✓', '', 'a.c', 'line\nbreak'];
const INTEGERS = [0n, 1n, 2n, 7n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const FLOATS = [0.5, 1, 2.5, -1, 1e300, 5e-324];
const TIMES = [0n, 1n, 2n ** 62n];

function aValue(chance: Chance, name: string): Value {
  const values: Readonly<Record<string, () => Value>> = {
    s: () => chance.of(WORDS),
    i: () => chance.of(INTEGERS),
    f: () => chance.of(FLOATS),
    b: () => chance.once(2),
    ls: () => chance.times(3).map(() => chance.of(WORDS)),
    li: () => chance.times(3).map(() => chance.of(INTEGERS)),
    lf: () => chance.times(3).map(() => chance.of(FLOATS)),
    lb: () => chance.times(3).map(() => chance.once(2)),
  };
  const make = values[name] ?? values[chance.of(Object.keys(values))]!;
  return make();
}

const NAMES = ['s', 'i', 'f', 'b', 'ls', 'li', 'lf', 'lb', 'any', 'http.method', 'http.status_code'];

function someAttributes(chance: Chance): Attribute[] {
  return NAMES.filter(() => chance.once(3)).map((name) => {
    if (name === 'http.method') return [name, chance.of(WORDS)];
    if (name === 'http.status_code') return [name, chance.of(INTEGERS)];
    return [name, aValue(chance, name)];
  });
}

/** An earlier span, now and then one that is not there. */
function parentOf(chance: Chance, id: number): string {
  if (chance.once(12)) return hexId(99, 8);
  return id === 1 || chance.once(15) ? '' : hexId(1 + chance.below(id - 1), 8);
}

/** Traces of up to eight spans. */
export function randomSpans(chance: Chance, traces: number): TestSpan[] {
  const resources = [1, 2, 3].map(() => ({
    // blocks do not tell an empty name of a service from none
    attributes: [
      ['service.name', chance.of(WORDS.filter((word) => word !== ''))] as Attribute,
      ...someAttributes(chance),
    ],
    droppedAttributes: 0,
  }));
  const scopes = [1, 2].map(() => ({
    name: chance.of(WORDS),
    version: chance.of(WORDS),
    attributes: someAttributes(chance),
    droppedAttributes: 0,
  }));
  const spans: TestSpan[] = [];
  for (let trace = 1; trace <= traces; trace++) {
    const count = 1 + chance.below(8);
    const traceStart = START_NANO + BigInt(trace) * 1_000_000n;
    for (let id = 1; id <= count; id++) {
      const time = (): bigint =>
        chance.once(20) ? chance.of(TIMES) : traceStart + BigInt(chance.below(5_000_000));
      const startUnixNano = time();
      spans.push(
        aSpan({
          traceId: hexId(trace, 16),
          spanId: hexId(id, 8),
          parentSpanId: parentOf(chance, id),
          name: chance.of(WORDS),
          kind: chance.below(6),
          status: { code: chance.below(3), message: chance.of(WORDS) },
          startUnixNano,
          endUnixNano: chance.once(20) ? time() : startUnixNano + BigInt(chance.below(9_000_000)),
          attributes: someAttributes(chance),
          events: chance.times(2).map(() => ({
            timeUnixNano: time(),
            name: chance.of(WORDS),
            attributes: someAttributes(chance),
            droppedAttributes: 0,
          })),
          links: chance.times(2).map(() => ({
            traceId: hexId(chance.below(9), 16),
            spanId: hexId(chance.below(9), 8),
            traceState: '',
            attributes: someAttributes(chance),
            droppedAttributes: 0,
          })),
          resource: chance.of(resources),
          scope: chance.of(scopes),
        }),
      );
    }
  }
  return spans;
}

const SCOPES = ['span.', 'resource.', '.', 'event.', 'link.', 'instrumentation.'];
const inScopes = (name: string): string[] => SCOPES.map((scope) => scope + name);
const words = quoted(WORDS);
const integers = ['0', '1', '2', '7', '-1', 'maxInt', 'minInt'];
const floats = ['0.5', '1.0', '2.5', '-1.0', '1e300'];
const durations = ['0s', '1ms', '2ms', '1h'];

export const RANDOM_SPANS_VOCABULARY: Vocabulary = {
  fields: [
    { names: [...inScopes('s'), ...inScopes('ls'), 'span.http.method'], type: 'string', values: words },
    { names: [...inScopes('i'), ...inScopes('li'), '.http.status_code'], type: 'int', values: integers },
    { names: [...inScopes('f'), ...inScopes('lf')], type: 'float', values: floats },
    { names: [...inScopes('b'), ...inScopes('lb')], type: 'bool', values: ['true', 'false'] },
    { names: inScopes('any'), type: 'any', values: ['1', '2.5', '"a"', 'true'] },
    { names: ['resource.service.name', '.service.name'], type: 'string', values: words },
    ...['name', 'statusMessage', 'rootName', 'rootServiceName', 'event:name', 'instrumentation:name'].map(
      (name) => ({ names: [name], type: 'string' as const, values: words, isIntrinsic: true }),
    ),
    ...['duration', 'traceDuration', 'event:timeSinceStart'].map((name) => ({
      names: [name],
      type: 'duration' as const,
      values: durations,
      isIntrinsic: true,
    })),
    { names: ['status'], type: 'status', values: ['ok', 'error', 'unset'], isIntrinsic: true },
    { names: ['kind'], type: 'kind', values: ['server', 'client', 'internal'], isIntrinsic: true },
    {
      names: ['nestedSetLeft', 'nestedSetRight', 'nestedSetParent', 'span:childCount'],
      type: 'int',
      values: ['-1', '0', '1', '2', '5'],
      isIntrinsic: true,
    },
    {
      names: ['span:id', 'span:parentID', 'trace:id', 'link:traceID', 'link:spanID'],
      type: 'id',
      values: ['"1"', '"0000000000000002"', '""'],
      isIntrinsic: true,
    },
  ],
  patterns: ['a.*', '.*', '.', 'a|b', '[ab]?', '(?i)GR.*', '.*\\\\.c', ''],
};
