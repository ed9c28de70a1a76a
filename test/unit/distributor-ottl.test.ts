// OTTL conditions of forwarders: which spans and events they leave out, what is refused at start, and that a
// request is otherwise what it was.
import t from 'tap';
import { SpanFilter } from '../../src/modules/distributor/ottl/filter.ts';
import { parseCondition } from '../../src/modules/distributor/ottl/syntax.ts';
import { type ConditionCase, CONDITIONS, conditionSpans } from '../support/ottl-conditions.ts';
import { aResource, aSpan, decodeTraces, encodeTraces, hexId, START_NANO } from '../support/otlp.ts';

async function keptBy(span: readonly string[], spans = conditionSpans(), spanevent: readonly string[] = []) {
  const left = await new SpanFilter({ span, spanevent }).apply(encodeTraces(spans));
  return left === undefined ? [] : decodeTraces(left);
}

const namesOf = (spans: readonly { name: string }[]): string => spans.map(({ name }) => name).join(' ');

t.test('conditions on spans', async (t) => {
  const all = namesOf(conditionSpans()).split(' ');
  for (const { condition, out } of CONDITIONS) {
    const kept = namesOf(await keptBy([condition]));
    t.equal(kept, all.filter((name) => !out.split(' ').includes(name)).join(' '), condition);
  }
  t.equal(namesOf(await keptBy(['name == "root"', 'kind.string == "Client"'])), 'job odd', 'one is enough');
});

t.test('more conditions, which Tempo was not asked about', async (t) => {
  const cases: readonly ConditionCase[] = [
    { condition: 'not(not(name == "root"))', out: 'root' },
    { condition: '((name == "root"))', out: 'root' },
    { condition: '(1 + 2) * 2 == 6 and name == "root"', out: 'root' },
    { condition: '1 + 2 * 2 == 5 and -(1) < 0', out: 'root call job odd' },
    { condition: '7 / 2 == 3 and 7 / 2.0 == 3.5', out: 'root call job odd' },
    { condition: '1 / 0 == 1 or true', out: '' },
    { condition: '[1, "a"] == [1, "a"] and nil == nil and nil <= nil', out: 'root call job odd' },
    { condition: '[1] == ["a"] or true < false', out: '' },
    { condition: '0x0aff == 0x0aff and 0x0aff < 0x0b', out: 'root call job odd' },
    { condition: '"a\\"\\n\\\\" == "a\\"\\n\\\\"', out: 'root call job odd' },
    { condition: 'Double("1.5") == 1.5 and Int("12") == 12 and Int("x") == nil', out: 'root call job odd' },
    { condition: 'attributes["big"] > 9007199254740992', out: 'odd' },
    { condition: 'ContainsValue(attributes["list"], "b")', out: 'odd' },
    { condition: 'Len(attributes["list"]) == 2 or Len(resource.attributes) == 0', out: 'odd' },
    { condition: 'attributes["none"]["x"] == nil', out: '' },
    { condition: 'attributes["list"][9] == nil', out: '' },
    { condition: 'attributes["blob"] == 0x0102', out: 'odd' },
    { condition: 'flags == 0 and dropped_links_count == 0', out: 'root call job odd' },
  ];
  const all = namesOf(conditionSpans()).split(' ');
  for (const { condition, out } of cases) {
    const kept = namesOf(await keptBy([condition]));
    t.equal(kept, all.filter((name) => !out.split(' ').includes(name)).join(' '), condition);
  }
});

t.test('what is kept is as it was, and what became empty is gone', async (t) => {
  const spans = conditionSpans();
  t.same(await keptBy(['false']), spans);
  t.same(await keptBy(['true']), []);
  const kept = await keptBy(['resource.attributes["service.name"] == "shop"']);
  t.same(
    kept,
    spans.filter(({ resource }) => resource.attributes[0]?.[1] !== 'shop'),
  );
});

t.test('conditions on events', async (t) => {
  const cases = [
    { condition: 'name == "retry"', left: ['retry-no', 'exception'] },
    { condition: 'spanevent.attributes["attempt"] >= 2', left: ['retry', 'exception'] },
    { condition: 'event_index == 0 or time_unix_nano > 1767225600000000001', left: ['retry-no'] },
    { condition: 'span.name == "root"', left: [] },
    { condition: 'resource.attributes["service.name"] == "none"', left: ['retry', 'retry-no', 'exception'] },
    { condition: 'dropped_attributes_count == 3', left: ['retry', 'retry-no'] },
  ];
  const event = (name: string, after: bigint, attempt: bigint, droppedAttributes = 0) => ({
    timeUnixNano: START_NANO + after,
    name,
    attributes: [['attempt', attempt] as [string, bigint]],
    droppedAttributes,
  });
  const events = [event('retry', 0n, 1n), event('retry-no', 1n, 2n), event('exception', 2n, 1n, 3)];
  const spans = [aSpan({ name: 'root', events }), aSpan({ name: 'none', spanId: hexId(2, 8) })];
  for (const { condition, left } of cases) {
    const got = await keptBy([], spans, [condition]);
    const want = spans.map((span) => ({
      ...span,
      events: span.events.filter(({ name }) => left.includes(name)),
    }));
    t.same(got, want, condition);
  }
  t.same(await keptBy(['name == "root"'], spans, ['true']), [spans[1]]);
});

t.test('a large request leaves turns to others', async (t) => {
  const spans = Array.from({ length: 10_000 }, (_, i) =>
    aSpan({ spanId: hexId(i + 1, 8), resource: aResource(`s${i >> 10}`), attributes: [['i', BigInt(i)]] }),
  );
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const kept = await keptBy(['IsMatch(attributes["i"], "[0-8]$")'], spans);
  clearInterval(timer);
  t.equal(kept.length, 1000);
  t.ok(turns > 1, `${turns} turns`);
});

t.test('one span of very many events leaves turns to others, and is looked at once', async (t) => {
  const EVENTS = 40_000;
  const ATTRIBUTES = 8000;
  const events = Array.from({ length: EVENTS }, (_, i) => ({
    timeUnixNano: START_NANO + BigInt(i),
    name: i % 2 === 0 ? 'even' : 'odd',
    attributes: [],
    droppedAttributes: 0,
  }));
  const attributes = Array.from({ length: ATTRIBUTES }, (_, i): [string, bigint] => [`a${i}`, BigInt(i)]);
  const span = aSpan({ name: 'large', events, attributes });
  const body = encodeTraces([span]);
  const condition = `span.attributes["a${ATTRIBUTES - 1}"] == ${ATTRIBUTES - 1} and span.name == "large"`;
  const filter = new SpanFilter({ span: ['false'], spanevent: [`name == "odd" and ${condition}`] });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const before = process.cpuUsage();
  const left = await filter.apply(body);
  const { user } = process.cpuUsage(before);
  clearInterval(timer);
  const even = events.filter(({ name }) => name === 'even');
  t.same(decodeTraces(left!), [{ ...span, events: even }]);
  t.ok(turns > 1, `${turns} turns`);
  // without a memory of what was found it is 20,000 times 8,000 fields
  t.ok(user < 1e6, `${user / 1000} ms`);
});

t.test('what is refused', async (t) => {
  const cases: readonly (readonly [condition: string, message: RegExp])[] = [
    ['', /^unable to parse OTTL condition "": 1:1: unexpected token "<EOF>" \(expected a value\)$/],
    ['attributes["x"] = "y"', /1:17: unexpected token "=" \(expected a comparison\)$/],
    ['attributes["x"] == "y" and', /1:27: unexpected token "<EOF>"/],
    ['foo == "x"', /1:1: path "foo" is not known or not supported$/],
    ['resource.name == "x"', /path "resource.name" is not known/],
    ['start_time > 1', /path "start_time" is not known/],
    ['name["x"] == 1', /name has no index/],
    ['Nope(name) == 1', /1:1: undefined function "Nope"$/],
    ['true and toString(name)', /1:10: function toString does not begin with an upper-case letter/],
    ['IsMatch(name)', /1:1: IsMatch takes 2 arguments, not 1$/],
    ['IsMatch(name, "(")', /the regex pattern "\(" is not a valid pattern: missing closing \)/],
    ['IsMatch(name, name)', /a pattern that is not a string literal is not supported$/],
    ['TraceID(0x01) == trace_id', /TraceID: needs a literal of 16 bytes$/],
    ['kind == SPAN_KIND_NONE', /1:9: enum symbol SPAN_KIND_NONE not found$/],
    ['name', /1:5: unexpected token "<EOF>" \(expected a comparison\)/],
    ['name == "x" extra', /1:13: unexpected token "extra" \(expected an operator or the end\)/],
    ['(name == "x"', /1:13: unexpected token "<EOF>" \(expected "\)"\)/],
    ['(name == "x") == true', /1:15: unexpected token "=="/],
    ['name == "x', /1:9: invalid input text "\\""/],
    ['name == "\\q"', /1:10: escape \\q is not supported/],
    ['Split(name, ",")[0] == "a"', /1:17: an index behind a function is not supported/],
    ['99999999999999999999 == 1', /1:1: 99999999999999999999 is more than 64 bits can hold/],
    ['0x012 == 0x01', /1:1: 0x012 has an odd number of digits/],
    [`${'('.repeat(2000)}true${')'.repeat(2000)}`, /nested too deeply/],
    [`name == "${'x'.repeat(10_000)}"`, /is longer than 10000 characters/],
    ['IsRootSpan(1)', /undefined function "IsRootSpan"/],
    ['constructor == 1', /path "constructor"/],
    ['toString(1) == 1', /1:1: function toString/],
  ];
  for (const [condition, message] of cases) {
    t.throws(() => new SpanFilter({ span: [condition], spanevent: [] }), {
      code: 'invalid_argument',
      message,
    });
  }
  t.throws(() => new SpanFilter({ span: [], spanevent: ['IsRootSpan()'] }), {
    message: /undefined function/,
  });
  t.throws(() => new SpanFilter({ span: ['event_index == 1'], spanevent: [] }), { message: /event_index/ });
  t.match(parseCondition('not name == nil or true'), {
    kind: 'or',
    parts: [{ kind: 'not' }, { kind: 'constant' }],
  });
});
