// The first member of a cluster, or one that is cut off from the others when it starts: that it reaches
// itself is no failure, and it goes on to look for others.
import t from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import type { MemberlistConfig } from '../../src/ring/config.ts';
import { type Resolver, systemResolver } from '../../src/ring/gossip/discovery.ts';
import { GossipService } from '../../src/ring/gossip/gossip-service.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/hostile.ts';
import { memberlistConfig } from '../support/memberlist.ts';

t.setTimeout(60_000);

function aService(over: Partial<MemberlistConfig>, lines: string[], resolver?: Resolver): GossipService {
  const times = { gossipIntervalMs: 20, minJoinBackoffMs: 20, maxJoinBackoffMs: 50 };
  const config = memberlistConfig({ bindAddr: ['127.0.0.1'], ...times, ...over });
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  return new GossipService({
    config,
    clock: systemClock,
    random: Math.random,
    logger,
    metrics: new Metrics(),
    ...(resolver && { resolver }),
  });
}

const alive = (service: GossipService): number =>
  service.members.filter(({ state }) => state === 'alive').length;

t.test('a member that is named and alone', async (t) => {
  const ports = [await freePort(), await freePort()];
  const joinMembers = ports.map((port) => `127.0.0.1:${port}`);
  const lines: string[] = [];
  const strict = { abortIfClusterJoinFails: true, maxJoinRetries: 1 };
  const first = aService({ bindPort: ports[0]!, joinMembers, ...strict }, lines);
  await first.start();
  t.equal(alive(first), 1);
  t.match(lines.join(''), 'no other member of the cluster is there yet');
  t.notMatch(lines.join(''), 'joined the cluster');
  const second = aService({ bindPort: ports[1]!, joinMembers: [] }, []);
  await second.start();
  t.ok(await until(async () => alive(first) === 2 && alive(second) === 2, 20_000), 'the other is found');
  await second.stop();
  await first.stop();
});

t.test('a member whose own name is known late, and by name', async (t) => {
  const port = await freePort();
  const lines: string[] = [];
  let asked = 0;
  const resolver = {
    ...systemResolver,
    addresses: async (): Promise<readonly string[]> => (asked++ === 0 ? [] : ['127.0.0.1']),
  } as Resolver;
  const strict = { abortIfClusterJoinFails: true, maxJoinRetries: 3 };
  const first = aService({ bindPort: port, joinMembers: [`dns+gossip:${port}`], ...strict }, lines, resolver);
  await first.start();
  t.ok(asked > 1);
  await first.stop();
  const named = aService({ bindPort: port, joinMembers: [`localhost:${port}`], ...strict }, lines);
  await named.start();
  t.notMatch(lines.join(''), 'joined the cluster');
  await named.stop();
});
