// Streams of a querier to the query-frontends that it finds by DNS, as frontends come and go. The name is
// made up; behind it are listeners of this process.
import type { LookupAddress, LookupOptions } from 'node:dns';
import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import t, { type Test } from 'tap';
import {
  frontendMessage,
  PROCESS_PATH,
  readQuerierMessage,
  readShutdownRequest,
  SHUTDOWN_PATH,
} from '../../src/contracts/httpgrpc.ts';
import type { Querier } from '../../src/contracts/query.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { FrontendLinks, type FrontendLinksOptions } from '../../src/modules/querier/frontend-links.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { AwakeLimit } from '../support/awake.ts';

const NAME = 'frontends.test';
const LOOKUP_MS = 20;

/** Addresses behind the name; undefined = the name server is away. */
let found: readonly string[] | undefined = [];
let lookupCount = 0;
const { lookup } = dns;
const scripted = async (host: string, options: LookupOptions): Promise<LookupAddress | LookupAddress[]> => {
  if (host !== NAME) return lookup(host, options);
  lookupCount++;
  if (found === undefined) throw new Error('the name server is away');
  return found.map((address) => ({ address, family: 4 }));
};
Object.assign(dns, { lookup: scripted });
syncBuiltinESMExports();
t.teardown(() => {
  Object.assign(dns, { lookup });
  syncBuiltinESMExports();
});

async function until(what: string, isSo: () => boolean): Promise<void> {
  const limit = new AwakeLimit(10_000);
  while (!isSo()) {
    if (limit.isOver) throw new Error(`${what} was waited for in vain`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** After it, what was found before it is done: a look begins when the last one has ended. */
async function looked(): Promise<void> {
  const before = lookupCount;
  await until('a look', () => lookupCount >= before + 2);
}

/** A query-frontend that knows its streams and asks on the first of them. */
class Frontend {
  readonly open = new Set<(url: string) => Promise<void>>();
  readonly ids = new Set<string>();
  readonly answers: string[] = [];
  readonly told: string[] = [];
  opened = 0;
  /** Ends each stream amid the request that it gives. */
  givesUp = false;

  async start(t: Test, host: string, port: number): Promise<number> {
    const methods = new GrpcMethods()
      .duplex(PROCESS_PATH, async (peer) => {
        const ask = (url: string): Promise<void> => {
          const request = { method: 'GET', url, headers: [], body: new Uint8Array(0) };
          return peer.send(frontendMessage({ kind: 'request', request }));
        };
        this.opened++;
        this.open.add(ask);
        try {
          await peer.send(frontendMessage({ kind: 'getId' }));
          for await (const message of peer.messages()) {
            const { clientId, response } = readQuerierMessage(message);
            if (response === undefined) {
              this.ids.add(clientId);
              if (!this.givesUp) continue;
              await ask('/x');
              throw new TempoError('cancelled', 'nobody waits for the answer');
            } else this.answers.push(Buffer.from(response.body).toString());
          }
        } finally {
          this.open.delete(ask);
        }
      })
      .unary(SHUTDOWN_PATH, async ({ message }) => {
        this.told.push(readShutdownRequest(message));
        return new Uint8Array(0);
      });
    const server = new GrpcServer({
      address: { host, port },
      methods,
      recvMessageBytesMax: 1 << 20,
      logger: silentLogger,
    });
    t.teardown(() => server.stop(0));
    return (await server.start()).port;
  }

  ask(url: string): Promise<void> {
    return [...this.open][0]!(url);
  }
}

const [ONE, TWO] = ['127.0.0.1', '127.0.0.2'];

/** Two query-frontends on one port, and a querier whose answers wait for `release`. */
async function start(t: Test, over: Partial<FrontendLinksOptions> = {}) {
  const [one, two] = [new Frontend(), new Frontend()];
  const port = await one.start(t, ONE, 0);
  await two.start(t, TWO, port);
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const asked: string[] = [];
  const links = new FrontendLinks({
    address: `${NAME}:${port}`,
    lookupMs: LOOKUP_MS,
    concurrentMax: 6,
    parallelism: 2,
    clientId: 'querier-1',
    client: { reconnectMs: { min: 10, max: 50 } },
    sendMessageBytesMax: 1 << 20,
    backoffMs: { min: 5, max: 20 },
    graceMs: 5000,
    querier: {} as Querier,
    http: async ({ url }) => {
      asked.push(url);
      await released;
      return { code: 200, headers: [], body: Buffer.from(`done ${url}`) };
    },
    logger: silentLogger,
    ...over,
  });
  t.teardown(() => (release(), links.stop()));
  const streams = async (ofOne: number, ofTwo: number): Promise<void> => {
    const isSo = (): boolean => one.open.size === ofOne && two.open.size === ofTwo;
    await until(`${ofOne} and ${ofTwo} streams`, isSo);
    t.ok(isSo(), `${ofOne} and ${ofTwo} streams`);
  };
  return { one, two, links, asked, release, streams };
}

t.test('streams are split over the query-frontends', async (t) => {
  found = [ONE, TWO, ONE];
  const { one, two, links, streams } = await start(t);
  await links.start();
  await streams(3, 3);
  await until('their names', () => one.ids.size + two.ids.size === 2);
  t.same([...one.ids, ...two.ids], ['querier-1', 'querier-1']);
  await looked();
  t.same([one.opened, two.opened], [3, 3], 'as long as the same are found, they stay');
  found = undefined;
  await looked();
  t.same([one.opened, two.opened], [3, 3], 'and when nothing can be found out');
  t.same([one.open.size, two.open.size], [3, 3]);
  await links.stop();
  t.same([one.told, two.told], [['querier-1'], ['querier-1']], 'each is told of the end');
  await streams(0, 0);
});

t.test('one that appears gets streams of the other', async (t) => {
  found = [ONE];
  const { one, two, links, asked, release, streams } = await start(t);
  await links.start();
  await streams(6, 0);
  await Promise.all([...one.open].map((ask, i) => ask(`/${i}`)));
  await until('all questions', () => asked.length === 6);
  found = [ONE, TWO];
  await until('streams of the new one', () => two.open.size === 3);
  t.equal(one.open.size, 6, 'those that work are not cut off');
  release();
  await streams(3, 3);
  t.equal(one.answers.length, 6, 'they answer first');
});

t.test('one that vanishes is drained', async (t) => {
  found = [ONE, TWO];
  const { two, links, release, asked, streams } = await start(t);
  await links.start();
  await streams(3, 3);
  await two.ask('/slow');
  await until('the question', () => asked.length === 1);
  found = [ONE];
  await streams(6, 1);
  await looked();
  t.same([two.open.size, two.answers], [1, []], 'the stream that works is kept');
  release();
  await streams(6, 0);
  t.same(two.answers, ['done /slow'], 'until it has answered');
  await looked();
  t.equal(two.opened, 3, 'none is opened again');
  found = [ONE, TWO];
  await streams(3, 3);
  t.equal(two.opened, 6, 'unless it is back');
  await two.ask('/next');
  await until('an answer', () => two.answers.length === 2);
});

t.test('work for one that has vanished lasts no longer than the grace', async (t) => {
  found = [ONE, TWO];
  const { two, links, asked, streams } = await start(t, { graceMs: 50 });
  await links.start();
  await streams(3, 3);
  await two.ask('/endless');
  await until('the question', () => asked.length === 1);
  found = [ONE];
  await streams(6, 0);
  t.same(two.answers, []);
});

t.test('a stream whose query was given up is followed by another one at once', async (t) => {
  found = [ONE];
  const { one, links, release } = await start(t, { concurrentMax: 1, backoffMs: { min: 5, max: 60_000 } });
  one.givesUp = true;
  release();
  await links.start();
  // With pauses that double it would take minutes.
  await until('twenty streams', () => one.opened >= 20);
  t.pass('twenty streams');
});

t.test('without a number for all, each gets as many as one', async (t) => {
  found = [ONE];
  const { links, one, streams } = await start(t, { concurrentMax: undefined });
  await links.start();
  await streams(2, 0);
  found = [ONE, TWO];
  await streams(2, 2);
  t.equal(one.opened, 2);
});

t.test('each has one stream at least, and none is found at first', async (t) => {
  found = undefined;
  const { links, streams } = await start(t, { concurrentMax: 1 });
  await links.start();
  await looked();
  await streams(0, 0);
  found = [ONE, TWO];
  await streams(1, 1);
});

t.test('what does not divide evenly is not exceeded', async (t) => {
  found = [ONE, TWO];
  const { links, streams } = await start(t, { concurrentMax: 5 });
  await links.start();
  await streams(3, 2);
});

t.test('a stop waits for what is asked by one that has vanished', async (t) => {
  found = [ONE, TWO];
  const { two, links, release, asked, streams } = await start(t);
  await links.start();
  await streams(3, 3);
  await two.ask('/slow');
  await until('the question', () => asked.length === 1);
  found = [ONE];
  await streams(6, 1);
  let isStopped = false;
  const stopping = links.stop().then(() => (isStopped = true));
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.notOk(isStopped);
  release();
  await stopping;
  await until('the answer', () => two.answers.length === 1);
});
