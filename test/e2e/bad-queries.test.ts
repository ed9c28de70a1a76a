// Queries of an enemy: what is no TraceQL, what is absurdly large or deep, patterns that make backtracking
// engines hang. Each gets its status soon, and others are answered meanwhile.
import t from 'tap';
import { VOCABULARY } from '../interop/vocabulary.ts';
import { ABSURD, damaged, MALFORMED } from '../support/bad-query.ts';
import { Chance } from '../support/fuzz.ts';
import { RandomQueries } from '../support/random-query.ts';
import { figuresOf, httpExport, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, spansOfTrace } from '../support/read-api.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const ANSWER_MS_MAX = 5000;
/** What a process that has met every query keeps: heaps of its threads, compiled code, dictionaries. */
const RSS_WARM_MIB_MAX = 700;
/** From then on the same queries, asked again, leave nothing behind. */
const RSS_GROWTH_MIB_MAX = 80;
const SETTLE_MS_MAX = 20_000;
const WARM_ROUNDS = 2;
const ROUNDS = 3;

const deep = (open: string, inner: string, close: string, depth: number): string =>
  open.repeat(depth) + inner + close.repeat(depth);

t.test('bad queries', { timeout: 200_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  for (let id = 1; id <= 20; id++) {
    const spans = aTrace(id, 100, () => ({
      startUnixNano,
      endUnixNano: startUnixNano,
      attributes: [['long', `${'a'.repeat(5_000)}!`]],
    }));
    t.equal((await httpExport(tempo, encodeTraces(spans))).status, 200);
    if (id === 10) await flush(tempo);
  }
  const cases: { name: string; q: string; status: number; text?: RegExp }[] = [
    { name: 'no end', q: '{ name = "a"', status: 400, text: /line 1, col(?:umn)? 13/ },
    {
      name: 'an error on the second line',
      q: '{ name = "a" }\n  && }',
      status: 400,
      text: /line 2, col(?:umn)? 6/,
    },
    { name: 'not closed', q: '{ name = "a }', status: 400, text: /line 1, col(?:umn)? \d+/ },
    { name: 'garbage', q: '\u0000\u0001\uffff{{{', status: 400, text: /line 1, col(?:umn)? 1/ },
    { name: 'a type error', q: '{ name > 5ms }', status: 400 },
    { name: 'an attribute that is none', q: '{ span. = 1 }', status: 400, text: /line 1, col(?:umn)? \d+/ },
    { name: 'a bad pattern', q: '{ name =~ "(" }', status: 400 },
    { name: 'a pattern of another engine', q: '{ name =~ "(?=a)" }', status: 400 },
    { name: 'a repetition that explodes', q: '{ name =~ "((a{100}){100}){100}" }', status: 400 },
    { name: '1,000 parentheses', q: `{ ${deep('(', 'name = "a"', ')', 1000)} }`, status: 400 },
    { name: '1,500 minus signs', q: `{ ${'-'.repeat(1500)}1 = 1 }`, status: 400 },
    { name: '1,500 not signs', q: `{ ${'!'.repeat(1500)}(true) }`, status: 400 },
    { name: '1,500 braces', q: deep('(', '{}', ')', 1500), status: 400 },
    { name: 'backtracking', q: '{ span.long =~ "(a+)+$" }', status: 200 },
    { name: 'more backtracking', q: '{ span.long =~ "(a|aa)+b|(a*)*c" }', status: 200 },
    {
      name: 'many alternatives',
      q: `{ span.long =~ "${Array.from({ length: 300 }, (_, i) => `x${i}`).join('|')}" }`,
      status: 200,
    },
    {
      name: '200 conditions',
      q: `{ ${Array.from({ length: 200 }, (_, i) => `span.a${i} = ${i}`).join(' || ')} }`,
      status: 200,
    },
    {
      name: '2,060 ids of traces',
      q: `{ ${Array.from({ length: 2060 }, (_, i) => `trace:id = "${hexId(i + 1, 16)}"`).join(' || ')} }`,
      status: 200,
      text: /"traceID":"0*3"/,
    },
    { name: 'a long chain of structures', q: Array(30).fill('{}').join(' >> '), status: 200 },
    { name: 'everything', q: '{} >> {} | select(span.long, name)', status: 200 },
  ];
  const ask = async (): Promise<void> => {
    for (const { name, q, status, text } of cases) {
      const begin = performance.now();
      const answer = await tempo.get(`/api/search?limit=1000&q=${encodeURIComponent(q)}`);
      const body = await answer.text();
      const tookMs = Math.round(performance.now() - begin);
      t.equal(answer.status, status, `${name}: ${body.slice(0, 200)}`);
      if (text !== undefined) t.match(body, text, name);
      t.ok(tookMs < ANSWER_MS_MAX, `${name}: ${tookMs} ms`);
    }
    const range = 'since=5m&step=100ms&exemplars=1000000&maxSeries=1000000';
    for (const { name, q, status } of [
      { name: 'a series a span', q: '{} | rate() by (span:id)', status: 200 },
      { name: 'long labels', q: '{} | rate() by (span.long, trace:id)', status: 200 },
      { name: 'all values of all attributes', q: '{} | compare({ status = ok }, 1000000)', status: 200 },
      {
        name: 'backtracking before a count',
        q: '{ span.long =~ "(a+)+$" } | count_over_time()',
        status: 200,
      },
      {
        name: '1,000 quantiles',
        q: `{} | quantile_over_time(duration, ${Array.from({ length: 1000 }, (_, i) => i / 1000).join()})`,
        status: 200,
      },
      { name: 'a number that is too large', q: `{} | rate() | topk(${'9'.repeat(400)})`, status: 400 },
      { name: 'two functions', q: '{} | rate() | rate()', status: 400 },
      { name: 'a function of nothing', q: '{} | min_over_time()', status: 400 },
    ]) {
      const begin = performance.now();
      const answer = await tempo.get(`/api/metrics/query_range?${range}&q=${encodeURIComponent(q)}`);
      const body = await answer.text();
      const tookMs = Math.round(performance.now() - begin);
      t.equal(answer.status, status, `${name}: ${body.slice(0, 200)}`);
      t.ok(tookMs < ANSWER_MS_MAX, `${name}: ${tookMs} ms`);
    }
    const begin = performance.now();
    for (const [name, q] of Object.entries(ABSURD)) {
      const answer = await tempo.get(`/api/search?q=${encodeURIComponent(q)}`);
      const body = await answer.text();
      // 431: it does not fit the head of a request
      t.ok([200, 400, 431].includes(answer.status), `${name}: ${answer.status} ${body.slice(0, 100)}`);
    }
    t.comment(`${Object.keys(ABSURD).length} absurd queries: ${Math.round(performance.now() - begin)} ms`);
    const chance = new Chance(Number(process.env['FUZZ_SEED'] ?? 1));
    const queries = new RandomQueries(chance, VOCABULARY);
    const wrong: string[] = [];
    for (let i = 0; i < 300; i++) {
      const isMetrics = chance.once(3);
      const q = damaged(chance, isMetrics ? queries.metrics() : queries.search()).toWellFormed();
      const path = isMetrics ? '/api/metrics/query_range' : '/api/search';
      const answer = await tempo.get(`${path}?q=${encodeURIComponent(q)}`);
      const body = await answer.text();
      const isTold = answer.status === 400 && /line \d+, col \d+|not a metrics query/.test(body);
      if (answer.status !== 200 && !isTold) wrong.push(`${answer.status} ${q}: ${body}`);
    }
    t.same(wrong, [], 'damaged queries are answered, or refused with their place');
  };
  for (const q of MALFORMED) {
    for (const path of ['/api/search', '/api/metrics/query_range']) {
      const answer = await tempo.get(`${path}?q=${encodeURIComponent(q)}`);
      const body = await answer.text();
      t.ok(answer.status === 400 && /line \d+, col \d+/.test(body), `${path} ${q}: ${answer.status} ${body}`);
    }
  }
  for (let i = 0; i < WARM_ROUNDS; i++) await ask();
  const before = figuresOf(tempo.pid);
  t.ok(before.rssMib < RSS_WARM_MIB_MAX, `${before.rssMib} MiB`);
  for (let i = 0; i < ROUNDS; i++) await ask();
  const large = '{ name = "' + 'a'.repeat(2 << 20) + '" }';
  const answer = await tempo.get(`/api/search?q=${encodeURIComponent(large)}`);
  t.equal(answer.status, 431, 'a query of 2 MB');
  t.equal(
    await answer.text(),
    'the URL and headers of a request may have 1048576 bytes together, and 10000 headers\n',
  );
  t.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
  const beyond = `{ name = "${'a'.repeat(200_000)}" }`;
  const refused = await tempo.get(`/api/search?q=${encodeURIComponent(beyond)}`);
  t.equal(refused.status, 400);
  t.match(await refused.text(), /TraceQL expression exceeds the configured maximum size of \d+ bytes/);
  const medium = '{ name = "' + 'a'.repeat(100_000) + '" }';
  const fits = await tempo.get(`/api/search?q=${encodeURIComponent(medium)}`);
  t.equal(fits.status, 200, 'a query of 100 kB is within max_query_expression_size_bytes');
  await fits.body?.cancel();
  const urls: [string, number][] = [
    ['/api/search?q={}&limit=-1', 400],
    ['/api/search?q={}&limit=99999999999999999999', 400],
    ['/api/search?q={}&start=5&end=4', 400],
    ['/api/search?q={}&spss=-1', 400],
    ['/api/metrics/query_range?q={}|rate()&start=5&end=4', 400],
    ['/api/metrics/query_range?q={}|rate()&step=-1', 400],
    ['/api/metrics/query_range?q={}|rate()&step=1ns', 400],
    ['/api/metrics/query_range?q={}|rate()&start=0&end=9999999999999999999', 400],
    ['/api/metrics/query_range?q={}|rate()&start=99999999999999999999', 400],
    ['/api/metrics/query_range?q={}|rate()&since=9999999999y', 400],
    ['/api/metrics/query?q={}|quantile_over_time(duration,-1)', 400],
    ['/api/metrics/query?q={}|topk(5)', 400],
    ['/api/metrics/query?q=%ff%fe', 400],
    ['/api/search?q=%ff%fe', 400],
    ['/api/search?q=%', 400],
    ['/api/traces/xyz', 400],
    [`/api/traces/${'a'.repeat(33)}`, 400],
    [`/api/traces/${'a'.repeat(3000)}`, 400],
    ['/api/traces/%00', 400],
    ['/api/traces/..%2f..%2fetc%2fpasswd', 404],
    ['/api/v2/traces/', 404],
    ['/../../etc/passwd', 404],
    ['/nothing', 404],
  ];
  for (const [url, status] of urls) {
    const response = await tempo.get(url);
    t.equal(response.status, status, `${url.slice(0, 60)}: ${(await response.text()).slice(0, 100)}`);
  }
  t.equal(await spansOfTrace(tempo, hexId(3, 16)), 100, 'the data is still answered');
  // what is garbage may stay until the process has nothing to do
  await until(() => figuresOf(tempo.pid).rssMib < before.rssMib + RSS_GROWTH_MIB_MAX, SETTLE_MS_MAX);
  const after = figuresOf(tempo.pid);
  t.comment(`before ${JSON.stringify(before)} after ${JSON.stringify(after)}`);
  t.ok(after.rssMib < before.rssMib + RSS_GROWTH_MIB_MAX, `${before.rssMib} to ${after.rssMib} MiB`);
  t.notMatch(tempo.output(), /scan thread crashed|level=error/, 'no error of ours');
  t.equal(await tempo.stop(), 0);
});
