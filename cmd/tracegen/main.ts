// Sends invented traces over OTLP, reads one of them back over the query API and prints its address.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../../src/lib/duration.ts';
import { connectOtlp, type OtlpClient } from '../../src/rpc/otlp-client.ts';
import { type GeneratedTrace, generateTrace } from './traces.ts';

type Options = {
  readonly otlpEndpoint: string;
  readonly otlpInsecure: boolean;
  readonly duration: number;
  readonly workers: number;
  readonly traces: number;
  readonly rate: number;
  readonly service: string;
  readonly tenant?: string;
  readonly queryUrl: string;
};

type Sent = { traces: number; spans: number; rejected: number; last: GeneratedTrace | undefined };

/** An outcome that is told in one line, without a stack. */
class PlainError extends Error {}

const READ_BACK_LIMIT_MS = 10_000;
const READ_BACK_PAUSE_MS = 100;
const HTTP_OK = 200;
const QUERY_HINT = 'the traces were sent; -query-url says where that server is read';

function durationArgument(text: string): number {
  try {
    return parseDuration(text);
  } catch (err) {
    throw new InvalidArgumentError((err as Error).message);
  }
}

function numberArgument(text: string): number {
  const value = Number(text);
  if (text === '' || !Number.isFinite(value) || value < 0) throw new InvalidArgumentError('not a number');
  return value;
}

/** Go programs take flags with one dash or two, and a truth value only after `=`. */
function twoDashes(args: readonly string[]): string[] {
  return args
    .map((arg) => (/^-[a-z]{2}/.test(arg) ? `-${arg}` : arg))
    .map((arg) => arg.replace(/^--otlp-insecure=(true|1)$/, '--otlp-insecure'))
    .map((arg) => arg.replace(/^--otlp-insecure=(false|0)$/, '--no-otlp-insecure'));
}

function parseOptions(argv: readonly string[]): Options {
  const program = new Command('tracegen')
    .description('Sends invented traces over OTLP/gRPC, reads one back and prints its address.')
    .option('--otlp-endpoint <host:port>', 'where to send (a scheme https:// means TLS)', 'localhost:4317')
    .option('--otlp-insecure', 'send without TLS', true)
    .option('--no-otlp-insecure', 'send with TLS (also -otlp-insecure=false)')
    .option('--duration <duration>', 'how long to send, such as 30s', durationArgument, 0)
    .option('--workers <count>', 'senders at the same time', numberArgument, 1)
    .option('--traces <count>', 'traces of each worker, where no duration is given', numberArgument, 10)
    .option('--rate <count>', 'traces a second of each worker (0: as fast as possible)', numberArgument, 50)
    .option('--service <text>', 'put before the name of every service', '')
    .option('--tenant <id>', 'X-Scope-OrgID to send and read with')
    .option('--query-url <url>', 'where to read the trace back', 'http://localhost:3200')
    .exitOverride((err) => process.exit(err.exitCode === 0 ? 0 : 2));
  return program.parse(twoDashes(argv), { from: 'user' }).opts<Options>();
}

function endpointUrl({ otlpEndpoint, otlpInsecure }: Options): string {
  if (/^https?:\/\//.test(otlpEndpoint)) return otlpEndpoint;
  return `${otlpInsecure ? 'http' : 'https'}://${otlpEndpoint}`;
}

/** The reason inside an AggregateError (one per address tried) or an error without a message of its own. */
function reasonOf(err: unknown): string {
  if (err instanceof AggregateError && err.errors.length > 0) return reasonOf(err.errors[0]);
  if (!(err instanceof Error)) return String(err);
  if (err.cause !== undefined) return reasonOf(err.cause);
  return err.message.trim();
}

async function connectOrExplain(url: string, tenant: string | undefined): Promise<OtlpClient> {
  try {
    return await connectOtlp(url, { tenant });
  } catch (err) {
    throw new PlainError(`cannot reach OTLP at ${url}: ${reasonOf(err)} (is the server running?)`);
  }
}

async function work(options: Options, endsAtMs: number, sent: Sent): Promise<void> {
  const client = await connectOrExplain(endpointUrl(options), options.tenant);
  const beganMs = performance.now();
  const goesOn = (count: number): boolean =>
    options.duration > 0 ? performance.now() < endsAtMs : count < options.traces;
  try {
    for (let count = 0; goesOn(count); count++) {
      const trace = generateTrace(options.service);
      const { rejectedSpans } = await client.send(trace.request);
      sent.traces++;
      sent.spans += trace.spans;
      sent.rejected += rejectedSpans;
      sent.last = trace;
      const dueMs = options.rate === 0 ? 0 : beganMs + ((count + 1) * 1000) / options.rate;
      const pauseMs = Math.min(dueMs, endsAtMs) - performance.now();
      if (pauseMs > 0) await sleep(pauseMs);
    }
  } catch (err) {
    throw new PlainError(`${endpointUrl(options)} refused a trace: ${reasonOf(err)}`);
  } finally {
    client.close();
  }
}

function spansIn(body: unknown): number {
  if (typeof body !== 'object' || body === null) return 0;
  let spans = 0;
  for (const [key, value] of Object.entries(body)) {
    if (key === 'spans' && Array.isArray(value)) spans += value.length;
    else spans += spansIn(value);
  }
  return spans;
}

/** Asks for a trace until all its spans are there. @returns its address. */
async function readBack(options: Options, trace: GeneratedTrace): Promise<string> {
  const url = `${options.queryUrl}/api/traces/${trace.traceId}`;
  const headers = options.tenant === undefined ? {} : { 'X-Scope-OrgID': options.tenant };
  const endsAtMs = performance.now() + READ_BACK_LIMIT_MS;
  let answer = '';
  do {
    let response: Response;
    try {
      response = await fetch(url, { headers });
    } catch (err) {
      throw new PlainError(
        `cannot reach the query API at ${options.queryUrl}: ${reasonOf(err)} (${QUERY_HINT})`,
      );
    }
    const found = response.status === HTTP_OK ? spansIn(await response.json()) : 0;
    if (found === trace.spans) return url;
    answer = `status ${response.status}, ${found} of ${trace.spans} spans`;
    await sleep(READ_BACK_PAUSE_MS);
  } while (performance.now() < endsAtMs);
  throw new PlainError(`${url} did not give the trace back: ${answer} (${QUERY_HINT})`);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const sent: Sent = { traces: 0, spans: 0, rejected: 0, last: undefined };
  const endsAtMs = options.duration > 0 ? performance.now() + options.duration : Infinity;
  const workers = Array.from({ length: Math.max(1, options.workers) }, () => work(options, endsAtMs, sent));
  await Promise.all(workers);
  console.log(`sent ${sent.spans} spans in ${sent.traces} traces to ${endpointUrl(options)}`);
  if (sent.rejected > 0) throw new PlainError(`the server refused ${sent.rejected} spans of them`);
  if (sent.last === undefined) throw new PlainError('nothing was sent');
  const url = await readBack(options, sent.last);
  console.log(`read back a trace of ${sent.last.spans} spans: ${url}`);
}

try {
  await main();
} catch (err) {
  console.error(`tracegen: ${err instanceof PlainError ? err.message : String((err as Error).stack)}`);
  process.exit(1);
}
