// Chance against every endpoint and every configuration key: whatever comes, the answer is one that means
// something, nothing crashes or hangs, and the process holds afterwards what it held before. The seed is
// printed; FUZZ_SEED repeats a run and FUZZ_SECONDS makes it longer.
import http, { type OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import fs from 'node:fs';
import { spawn } from 'node:child_process';
import t from 'tap';
import { parse } from 'yaml';
import { checkConfig } from '../../src/app/check.ts';
import { rootBlock } from '../../src/app/config.ts';
import { ConfigError } from '../../src/config/errors.ts';
import type { Field } from '../../src/config/field.ts';
import { loadConfig } from '../../src/config/load.ts';
import { aJsonRequest, aQuery, aRequest, Chance, mutated, NUMBERS, packed, TEXTS } from '../support/fuzz.ts';
import { figuresOf, framed, grpcExport, grpcSession, httpExport, metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, spansOfTrace } from '../support/read-api.ts';
import { configText, freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 12);
const NO_RATE = 'rate_limit_bytes: 999999999, burst_size_bytes: 999999999';
const CLIENTS = 6;
const ANSWER_MS_MAX = 20_000;
const RSS_GROWTH_MIB_MAX = 300;
/** Of the test's own clients. */
const KEPT_DESCRIPTORS_MAX = 16;

type Problem = { readonly what: string; readonly input: unknown };

/** Statuses that a request of a stranger may get. */
const HTTP_GOOD = new Set([
  200, 204, 301, 302, 304, 400, 401, 403, 404, 405, 406, 408, 413, 414, 415, 422, 429, 431, 503,
]);
const GRPC_GOOD = new Set([0, 3, 5, 8, 12, 14, 16]);
const GRPC_INTERNAL = 13;
/** What is no message of gRPC at all is an internal error, as in grpc-go. */
const GRPC_FRAMING = /^(more than one|invalid compression|the request ended|compressed message)/;

const METHODS = ['GET', 'GET', 'GET', 'GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'];

const PARAMS: Readonly<Record<string, (chance: Chance) => string>> = {
  q: aQuery,
  query: aQuery,
  tags: (chance) => chance.of(['a=b', 'a="b c" d=e', 'service.name=shop', 'a="', '=', ...TEXTS]),
  start: (chance) => chance.of([...NUMBERS, '1767225600', String(Math.floor(Date.now() / 1000) - 60)]),
  end: (chance) => chance.of([...NUMBERS, '1767229200', String(Math.floor(Date.now() / 1000) + 60)]),
  limit: (chance) => chance.of(NUMBERS),
  spss: (chance) => chance.of(NUMBERS),
  minDuration: (chance) => chance.of(['1ms', '1h', '-5s', ...NUMBERS]),
  maxDuration: (chance) => chance.of(['1ms', '1h', '', ...NUMBERS]),
  scope: (chance) => chance.of(['span', 'resource', 'intrinsic', 'none', ...TEXTS]),
  mode: (chance) => chance.of(['all', 'blocks', 'ingesters', 'diff', 'defaults', ...TEXTS]),
  maxStaleValues: (chance) => chance.of(NUMBERS),
  tenant: (chance) => chance.of(TEXTS),
  step: (chance) => chance.of(['1s', '0', ...NUMBERS]),
};

const HEADERS: Readonly<Record<string, readonly string[]>> = {
  accept: [
    'application/protobuf',
    'application/json',
    'application/vnd.grafana.llm',
    '*/*',
    'text/html',
    'a',
    '',
  ],
  'accept-encoding': ['gzip', 'gzip;q=0', 'zstd, br', '*', ''],
  'x-scope-orgid': ['a', 'a|b', '|', '..', 'a/b', 'a'.repeat(200), ''],
  'content-type': [
    'application/json',
    'application/grpc',
    'text/plain',
    'multipart/form-data; boundary=x',
    '',
  ],
  'if-none-match': ['*', '"a"'],
  range: ['bytes=0-10', 'bytes=-1'],
  expect: ['100-continue'],
};

function query(chance: Chance): string {
  const pairs = chance.times(5).map(() => {
    const name = chance.of(Object.keys(PARAMS));
    const value = chance.once(4) ? chance.of(TEXTS) : PARAMS[name]!(chance);
    const isRaw = chance.once(8);
    return `${name}=${isRaw ? value.replaceAll(/[^!-~]/g, '') : encodeURIComponent(value.toWellFormed())}`;
  });
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function pathOf(chance: Chance, template: string): string {
  const part = (): string =>
    chance.of(
      [
        '1',
        'f'.repeat(32),
        hexId(chance.below(100), 16),
        'span.a',
        '.a',
        'name',
        'span.a/values',
        'name/values',
      ].concat(TEXTS),
    );
  const filled = template.replaceAll(/\{[^}]*\}/g, () =>
    encodeURIComponent(part().toWellFormed()).replaceAll('%2F', '/'),
  );
  const text = chance.once(12)
    ? filled + chance.of(['/', '//', '%', '%zz', '/..', ';a', '/%2e%2e/'])
    : filled;
  return text.replaceAll(/[^!-~]/g, '');
}

type Answer = { readonly status: number; readonly text: string };

function ask(port: number, method: string, target: string, headers: OutgoingHttpHeaders): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: '127.0.0.1', port, method, path: target, headers, agent: false },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          resolve({
            status: answer.statusCode ?? 0,
            text: Buffer.concat(chunks).subarray(0, 300).toString(),
          });
        });
      },
    );
    request.setTimeout(ANSWER_MS_MAX, () => request.destroy(new Error('no answer in time')));
    request.on('error', reject);
    request.end();
  });
}

/** One request of some kind; what went wrong with it. */
type Shot = (chance: Chance) => Promise<Problem | undefined>;

function readShot(tempo: RunningTempo, templates: readonly string[]): Shot {
  return async (chance) => {
    const target = pathOf(chance, chance.of(templates)) + query(chance);
    const headers: OutgoingHttpHeaders = {};
    for (const name of Object.keys(HEADERS)) if (chance.once(4)) headers[name] = chance.of(HEADERS[name]!);
    const method = chance.of(METHODS);
    const answer = await ask(tempo.ports.http, method, target, headers);
    // As in Tempo, and with a reason.
    if (answer.text.startsWith('unknown value for mode query parameter')) return undefined;
    const isTold = answer.text !== '' || method === 'HEAD';
    const isGood = HTTP_GOOD.has(answer.status) || (answer.status === 501 && isTold);
    return isGood
      ? undefined
      : { what: `status ${answer.status}`, input: { method, target, headers, answer } };
  };
}

function httpPushShot(tempo: RunningTempo): Shot {
  return async (chance) => {
    const isJson = chance.once(3);
    const body = isJson ? Buffer.from(aJsonRequest(chance)) : aRequest(chance);
    const sent = packed(chance, body);
    const headers: OutgoingHttpHeaders = {
      'content-type': isJson ? 'application/json' : 'application/x-protobuf',
    };
    if (sent.encoding !== undefined) headers['content-encoding'] = sent.encoding;
    const answer = await httpExport(tempo, sent.body, headers);
    if (HTTP_GOOD.has(answer.status)) return undefined;
    const input = {
      headers,
      body: Buffer.from(sent.body).toString('base64'),
      answer: answer.body.toString(),
    };
    return { what: `export: status ${answer.status}`, input };
  };
}

function grpcPushShot(tempo: RunningTempo): Shot {
  let session = grpcSession(tempo);
  return async (chance) => {
    const isFrame = chance.once(4);
    const whole = framed(aRequest(chance), chance.once(10) ? chance.below(256) : 0);
    const bytes = isFrame ? mutated(chance, whole) : whole;
    if ((await session).destroyed || (await session).closed) session = grpcSession(tempo);
    const headers: OutgoingHttpHeaders = {};
    if (chance.once(5)) headers['grpc-timeout'] = chance.of(['1S', '0n', '99999999H', '-1S', 'x', '1m']);
    if (chance.once(8))
      headers['grpc-encoding'] = chance.of(['gzip', 'identity', 'snappy', 'zstd', 'br', '']);
    if (chance.once(8)) headers['x-scope-orgid'] = chance.of(HEADERS['x-scope-orgid']!);
    const { status, message } = await grpcExport(await session, bytes, headers);
    const isLate = status === 4 && headers['grpc-timeout'] !== undefined;
    const isFraming = status === GRPC_INTERNAL && GRPC_FRAMING.test(message);
    if (GRPC_GOOD.has(status) || isLate || isFraming) return undefined;
    return { what: `grpc status ${status}: ${message}`, input: { headers, bytes: bytes.toString('base64') } };
  };
}

/** Bytes that may be no HTTP at all: the other side answers or closes. */
function rawShot(tempo: RunningTempo): Shot {
  const { http: web, otlpHttp, otlpGrpc, grpc } = tempo.ports;
  const post = 'POST /v1/traces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n';
  const texts = [
    'GET /api/search?q={} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    `${post}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    `${post}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    'GET /ready HTTP/1.0\r\n\r\n',
  ];
  const preface = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from(
      '000000040000000000' + '00000401050000000182868441'.padEnd(26, '0') + '000000000100000001',
      'hex',
    ),
  ]);
  return async (chance) => {
    const port = chance.of([web, otlpHttp, otlpGrpc, grpc]);
    const bytes = mutated(chance, chance.once(2) ? preface : Buffer.from(chance.of(texts)));
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('error', () => {});
      socket.setTimeout(ANSWER_MS_MAX, () => {
        resolve('no end');
        socket.destroy();
      });
      socket.on('close', () => resolve(Buffer.concat(chunks).subarray(0, 40).toString('latin1')));
    });
    const isBad = answer === 'no end' || /^HTTP\/1.1 50[02]/.test(answer);
    return isBad
      ? {
          what: `raw: ${answer}`,
          input: { port: portName(tempo, port), bytes: Buffer.from(bytes).toString('base64') },
        }
      : undefined;
  };
}

function portName({ ports }: RunningTempo, port: number): string {
  return Object.entries(ports).find(([, value]) => value === port)?.[0] ?? '';
}

async function shoot(
  name: string,
  shot: Shot,
  chance: Chance,
  untilMs: number,
  problems: Problem[],
): Promise<number> {
  let count = 0;
  while (performance.now() < untilMs && problems.length < 10) {
    count++;
    try {
      const problem = await shot(chance);
      if (problem !== undefined) problems.push(problem);
    } catch (err) {
      const code = err instanceof Error && 'code' in err ? err.code : undefined;
      // A server may close while it is being talked to, and clients refuse what is no header.
      if (/^(ECONNRESET|EPIPE|ERR_|HPE_)/.test(String(code))) continue;
      problems.push({ what: `${name}: ${String(err)}`, input: undefined });
    }
  }
  return count;
}

/** Lines of a crash, or of a failure that the server blames on itself. */
function complaints(output: string): string[] {
  const stack = /^\s+at .*:\d+|unhandled|uncaught/i;
  const own = /(request|call) failed"|thread ended|builder thread|msg="memory/;
  return output.split('\n').filter((line) => stack.test(line) || own.test(line));
}

t.setTimeout((2 * SECONDS + 120) * 1000);

t.test('every endpoint', { timeout: (SECONDS + 60) * 1000 }, async (t) => {
  t.comment(`FUZZ_SEED=${SEED} FUZZ_SECONDS=${SECONDS}`);
  const tempo = await startTempo(testFolder(t), {
    yaml: `stream_over_http_enabled: true\noverrides: { defaults: { ingestion: { ${NO_RATE} } } }\n`,
  });
  t.teardown(() => tempo.kill());
  const listed = await (await tempo.get('/status/endpoints')).text();
  const templates = [...listed.matchAll(/^\| (\/\S*)/gm)]
    .map((match) => match[1]!)
    .filter((each) => !each.includes('shutdown'));
  const environment = fs.readFileSync(`/proc/${tempo.pid}/environ`, 'utf8');
  t.match(environment, 'MALLOC_MMAP_THRESHOLD_=', 'freed memory goes back to the system');
  t.ok(templates.length > 15, `${templates.length} endpoints`);
  const keep = aSpan({ traceId: hexId(0xfeed, 16), startUnixNano: BigInt(Date.now()) * 1_000_000n });
  t.equal((await httpExport(tempo, encodeTraces([keep]))).status, 200);
  const shots: Readonly<Record<string, () => Shot>> = {
    read: () => readShot(tempo, templates),
    'http push': () => httpPushShot(tempo),
    'grpc push': () => grpcPushShot(tempo),
    raw: () => rawShot(tempo),
  };
  const problems: Problem[] = [];
  let nextSeed = SEED;
  const round = async (seconds: number): Promise<string> => {
    const untilMs = performance.now() + seconds * 1000;
    const counts = await Promise.all(
      Array.from({ length: CLIENTS }, async (_, i) => {
        const name = Object.keys(shots)[i % Object.keys(shots).length]!;
        return [name, await shoot(name, shots[name]!(), new Chance(nextSeed++), untilMs, problems)] as const;
      }),
    );
    return counts.map(([name, count]) => `${count} of ${name}`).join(', ');
  };
  // What threads, heaps and caches take once they have worked is theirs.
  await round(SECONDS / 4);
  await flush(tempo);
  const before = figuresOf(tempo.pid);
  t.comment(await round((SECONDS * 3) / 4));
  t.strictSame(problems, [], 'every answer means something');
  t.strictSame(complaints(tempo.output()), [], 'nothing failed by itself');
  t.equal(await metric(tempo, 'tempo_ingester_builder_restarts_total'), 0);
  t.equal(await metric(tempo, 'tempo_scan_thread_restarts_total'), 0);
  t.equal(await spansOfTrace(tempo, keep.traceId), 1, 'what was there is there');
  const fresh = aSpan({ traceId: hexId(0xbeef, 16), startUnixNano: BigInt(Date.now()) * 1_000_000n });
  t.equal((await httpExport(tempo, encodeTraces([fresh]))).status, 200);
  t.equal(await spansOfTrace(tempo, fresh.traceId), 1, 'and more can come');
  await flush(tempo);
  const most = before.descriptors + KEPT_DESCRIPTORS_MAX;
  t.ok(await until(() => figuresOf(tempo.pid).descriptors <= most), 'descriptors are given back');
  const after = figuresOf(tempo.pid);
  t.comment(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
  t.ok(after.rssMib < before.rssMib + RSS_GROWTH_MIB_MAX, `${before.rssMib} to ${after.rssMib} MiB`);
  t.equal(await tempo.stop(), 0);
});

const WRONG: readonly string[] = [
  '-1',
  '0',
  '1',
  '~',
  '""',
  'x',
  'true',
  '1.5',
  '1e999',
  '.nan',
  '.inf',
  '0x10',
  '-5s',
  '1ns',
  '99999999999h',
  '9223372036854775808',
  '-99999999999999999999',
  '18446744073709551616',
  '5KiB',
  '1e6',
  '{}',
  '[]',
  '[1, {a: b}]',
  '{a: {b: c}}',
  '[[], ""]',
  '"\\0"',
  '"${X}"',
  '"\\ud800"',
  '!!binary aGk=',
  '2026-01-01',
  '"../../x"',
  "'%'",
];

/** Dotted paths of all keys of a description. */
function keysOf(field: Field, at: string): string[] {
  if (field.kind === 'optional') return [at, ...keysOf(field.field, at)];
  if (field.kind !== 'block') return [at];
  const prefix = at === '' ? '' : `${at}.`;
  return Object.entries(field.shape).flatMap(([key, inner]) => keysOf(inner, prefix + key));
}

function yamlOf(dotted: string, value: string): string {
  const keys = dotted.split('.');
  return `${keys.map((key, i) => `${'  '.repeat(i)}${key}:`).join('\n')} ${value}\n`;
}

/** Undefined when the configuration would be started. */
function refusalOf(text: string): string | undefined {
  try {
    const { config } = loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } });
    const { problems, missing } = checkConfig(config);
    return [...problems, ...missing].map((problem) => problem.text).join() || undefined;
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err;
    if (err.problems.some((problem) => problem.text === ''))
      throw new Error('a problem without a text', { cause: err });
    return err.problems.map((problem) => problem.text).join();
  }
}

t.test('every configuration key', async (t) => {
  t.comment(`FUZZ_SEED=${SEED} FUZZ_SECONDS=${SECONDS}`);
  const chance = new Chance(SEED);
  const keys = [...new Set(keysOf(rootBlock, ''))].filter((key) => key !== '');
  t.ok(keys.length > 500, `${keys.length} keys`);
  const base = configText('/nowhere', await freePorts());
  t.equal(refusalOf(base), undefined, 'the configuration to begin with');
  const accepted: [key: string, value: string][] = [];
  const endMs = performance.now() + SECONDS * 500;
  let texts = 0;
  // At least one wrong value a key, then more of them in the time there is.
  for (let i = 0; i < keys.length || performance.now() < endMs; i++) {
    const key = i < keys.length ? keys[i]! : chance.of(keys);
    const value = chance.of(WRONG);
    texts++;
    try {
      if (refusalOf(merged(base, yamlOf(key, value))) === undefined) accepted.push([key, value]);
    } catch (err) {
      t.fail(`${key}: ${value}: ${String(err)}`);
    }
  }
  // Those that pass the checks are started, some of them: it works, or it says in one line why not.
  const untilMs = performance.now() + SECONDS * 500;
  let starts = 0;
  while (performance.now() < untilMs) {
    const [key, value] = chance.of(accepted);
    // Paths would be written to, and a delay would be waited for.
    if (/path|delay|dir|file/.test(key)) continue;
    starts++;
    const outcome = await startedWith(testFolder(t), key, value);
    if (outcome !== undefined) t.fail(`${key}: ${value}: ${outcome}`);
  }
  t.comment(`${texts} texts, ${accepted.length} accepted, ${starts} started`);
});

const START_MS_MAX = 20_000;

/** Starts with a configuration of which one key is odd, and stops; tells what went wrong. */
async function startedWith(data: string, key: string, value: string): Promise<string | undefined> {
  const ports = await freePorts();
  const config = path.join(data, 'tempo.yaml');
  const text = merged(configText(data, ports), yamlOf(key, value));
  fs.writeFileSync(config, text);
  const main = path.resolve('cmd/tempo/main.ts');
  const child = spawn(process.execPath, [main, `-config.file=${config}`], { cwd: data });
  let output = '';
  let hasStarted = false;
  const note = (chunk: Buffer): void => {
    output += chunk.toString();
    if (!hasStarted && output.includes('msg="Tempo started"')) {
      hasStarted = true;
      child.kill('SIGTERM');
    }
  };
  child.stdout.on('data', note);
  child.stderr.on('data', note);
  const late = setTimeout(() => child.kill('SIGKILL'), START_MS_MAX);
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...ended) => resolve(ended as [number | null, string | null])),
  );
  clearTimeout(late);
  const why = complaints(output).join('; ');
  if (why !== '') return why;
  if (signal === 'SIGKILL') return `no end in time: ${output.slice(-500)}`;
  if (hasStarted) return code === 0 ? undefined : `ended with ${code}: ${output.slice(-500)}`;
  const isTold = code === 1 && /msg="error running Tempo" err=\S|^failed parsing config: \S/m.test(output);
  return isTold ? undefined : `ended with ${code}: ${output.slice(-500)}`;
}

/** Two YAML maps in one, key by key, the second wins. */
function merged(first: string, second: string): string {
  const [one, two] = [parse(first), parse(second)] as unknown[];
  return JSON.stringify(merge(one, two));
}

function merge(one: unknown, two: unknown): unknown {
  const isMap = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap(one) || !isMap(two)) return two;
  const result = { ...one };
  for (const [key, value] of Object.entries(two)) result[key] = key in one ? merge(one[key], value) : value;
  return result;
}
