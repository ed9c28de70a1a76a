// Who may have a name in the cluster, and what /memberlist shows of it: a name stays with its address until
// its member has left or has been dead for long enough, and impossible versions are refused.
import Fastify from 'fastify';
import t, { type Test } from 'tap';
import { registerMemberlistPage } from '../../src/app/memberlist-page.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { addressText, ipBytes } from '../../src/ring/gossip/address.ts';
import { GossipMetrics } from '../../src/ring/gossip/gossip-metrics.ts';
import { GossipNode } from '../../src/ring/gossip/gossip-node.ts';
import { GossipService } from '../../src/ring/gossip/gossip-service.ts';
import { type Alive, encodeMessage, encodePushPull } from '../../src/ring/gossip/messages.ts';
import { instanceOf } from '../../src/ring/instance.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { until } from '../support/hostile.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { memberlistConfig } from '../support/memberlist.ts';

t.setTimeout(60_000);

const MIB = 1024 * 1024;
const RECLAIM_MS = 60_000;
const OLD = '10.0.0.1:7946';
const NEW = '10.0.0.2:7946';

const aMember: Alive = {
  incarnation: 5,
  node: 'a',
  ip: ipBytes('10.0.0.1'),
  port: 7946,
  meta: new Uint8Array(0),
  versions: [1, 5, 2, 0, 0, 0],
};
/** The same name with another address, and no younger. */
const itsTwin: Alive = { ...aMember, ip: ipBytes('10.0.0.2'), incarnation: 1 };

/** A member that knows none, and what is told to it. */
function aNode(deadNodeReclaimMs: number) {
  const clock = new ManualClock();
  const lines: string[] = [];
  const sentTo: string[] = [];
  const node = new GossipNode({
    name: 'own',
    address: { ip: ipBytes('10.0.0.9'), port: 7946 },
    transport: { send: (to) => void sentTo.push(to), exchange: () => Promise.reject(new Error('nobody')) },
    clock,
    random: () => 0.5,
    logger: createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) }),
    metrics: new GossipMetrics(new Metrics()),
    retransmitFactor: 4,
    gossipIntervalMs: 200,
    gossipNodes: 3,
    gossipToDeadMs: 30_000,
    pushPullIntervalMs: 30_000,
    deadNodeReclaimMs,
    leftTimeoutMs: 300_000,
    obsoleteEntriesMs: 30_000,
    notifyIntervalMs: 0,
    label: '',
    acceptsAnyLabel: false,
    messageBytesMax: MIB,
    membersMax: 100,
    instancesMax: 100,
  });
  const alive = (news: Alive): void => node.packet(encodeMessage({ kind: 'alive', ...news }), 'x:1');
  /** Who says it of itself leaves. */
  const dead = (name: string, from = 'x'): void =>
    node.packet(encodeMessage({ kind: 'dead', incarnation: 5, node: name, from }), 'x:1');
  /** The state and the address of a name. */
  const known = (name = 'a'): string | undefined => {
    const member = node.membership.member(name);
    return member && `${member.state} ${addressText(member.address)}`;
  };
  const taken = (level: string): string =>
    lines
      .splice(0)
      .filter((line) => line.includes(`level=${level}`))
      .join('');
  /** Warnings since lines were last taken. */
  const warnings = (): string => taken('warn');
  const errors = (): string => taken('error');
  return { node, clock, alive, dead, known, warnings, errors, sentTo };
}

const CONFLICT = /gossip tells of two members with one name, which is ignored/;

const TWINS: readonly { name: string; news: Alive }[] = [
  { name: 'another host', news: itsTwin },
  { name: 'another host, and younger', news: { ...itsTwin, incarnation: 900 } },
  { name: 'another port, and younger', news: { ...aMember, port: 7947, incarnation: 900 } },
];

t.test('two members with one name: the first one keeps it', (t) => {
  const { node, alive, dead, known, warnings } = aNode(0);
  alive(aMember);
  const queued = node.queuedMessages;
  for (const { name, news } of TWINS) {
    alive(news);
    t.equal(known(), `alive ${OLD}`, name);
    t.equal(node.membership.member('a')?.incarnation, 5, `${name}: its incarnation is not taken`);
    const told = warnings();
    t.match(told, CONFLICT, name);
    t.match(told, `member=a addr=${addressText(news)} known_addr=${OLD}`, name);
    t.equal(node.queuedMessages, queued, `${name}: nobody is told`);
  }
  const members = [{ ...itsTwin, incarnation: 900, state: 'alive' }] as const;
  node.request(encodePushPull({ isJoin: true, members, userState: new Uint8Array(0) }));
  t.equal(known(), `alive ${OLD}`, 'nor of who joins');
  t.match(warnings(), CONFLICT);
  node.membership.suspect({ incarnation: 5, node: 'a', from: 'x' });
  alive({ ...itsTwin, incarnation: 900 });
  t.equal(known(), `suspect ${OLD}`, 'who is suspected keeps it too');
  t.match(warnings(), CONFLICT);
  alive({ ...aMember, incarnation: 6 });
  t.equal(known(), `alive ${OLD}`, 'the first one is heard as before');
  t.equal(warnings(), '');
  alive({ ...itsTwin, node: 'b' });
  t.equal(known('b'), `alive ${NEW}`, 'the other one with a name of its own');
  dead('b', 'b');
  alive({ ...aMember, node: 'b', incarnation: 1 });
  t.equal(known('b'), `alive ${OLD}`, 'the name of who has left is free at once');
  t.equal(warnings(), '');
  node.stop();
  t.end();
});

t.test('the name of a dead member is free once it has been dead for long enough', (t) => {
  const { node, clock, alive, dead, known, warnings } = aNode(RECLAIM_MS);
  alive(aMember);
  clock.passSync(10 * RECLAIM_MS);
  alive(itsTwin);
  t.equal(known(), `alive ${OLD}`, 'however long it is known: it lives');
  dead('a');
  warnings();
  for (const passMs of [0, RECLAIM_MS - 1, 1]) {
    clock.passSync(passMs);
    alive({ ...itsTwin, incarnation: 900 });
    t.equal(known(), `dead ${OLD}`, `${passMs} ms later it is too early`);
    t.match(warnings(), CONFLICT);
  }
  const queued = node.queuedMessages;
  clock.passSync(1);
  alive(itsTwin);
  t.equal(known(), `alive ${NEW}`, 'one that is no younger takes it');
  t.equal(warnings(), '');
  t.equal(node.membership.member('a')?.incarnation, 1);
  t.equal(node.membership.member('a')?.changedMs, clock.nowMs());
  t.equal(node.queuedMessages, queued, 'what is told of it takes the place of what was');
  alive({ ...aMember, incarnation: 6 });
  t.equal(known(), `alive ${NEW}`, 'and the first one gets it back no sooner');
  t.match(warnings(), CONFLICT);
  node.stop();
  t.end();
});

t.test('the name of a dead member is never free without a time', (t) => {
  const { node, clock, alive, dead, known, warnings } = aNode(0);
  alive(aMember);
  dead('a');
  clock.passSync(1000 * RECLAIM_MS);
  alive({ ...itsTwin, incarnation: 900 });
  t.equal(known(), `dead ${OLD}`);
  t.match(warnings(), CONFLICT);
  alive({ ...aMember, incarnation: 6 });
  t.equal(known(), `alive ${OLD}`, 'but it may come back itself');
  t.equal(warnings(), '');
  node.stop();
  t.end();
});

const OWN = '10.0.0.9:7946';
const MINUTE_MS = 60_000;

t.test('another process with the own name is told, and not contradicted', (t) => {
  const { node, clock, alive, dead, known, errors, sentTo } = aNode(0);
  const queued = node.queuedMessages;
  const told = (addr: string): RegExp =>
    new RegExp(
      'msg="gossip tells of this name at another address, .* give each its own by memberlist.node_name, ' +
        `or set memberlist.randomize_node_name" member=own addr=${OWN} other_addr=${addr}\n$`,
    );
  for (const { name, news } of TWINS.slice(1)) {
    const addr = addressText(news);
    alive({ ...news, node: 'own' });
    t.match(errors(), told(addr), name);
    t.same(sentTo.splice(0), [addr], `${name}: it is told of this one`);
    alive({ ...news, node: 'own', incarnation: 10_000 });
    clock.passSync(MINUTE_MS - 1);
    alive({ ...news, node: 'own' });
    t.equal(errors(), '', `${name}: not twice within a minute`);
    clock.passSync(1);
    alive({ ...news, node: 'own' });
    t.match(errors(), told(addr), `${name}: and again after that`);
    t.same(sentTo.splice(0), [addr]);
  }
  t.equal(known('own'), `alive ${OWN}`);
  t.equal(node.membership.member('own')?.incarnation, 1, 'its incarnation is as before');
  t.equal(node.queuedMessages, queued, 'nobody else is told');
  t.equal(node.membership.health, 0);
  clock.passSync(MINUTE_MS);
  for (let port = 1; port <= 100; port++) alive({ ...aMember, node: 'own', port });
  t.equal(errors().split('\n').length - 1, 16, 'of so many addresses at once');
  t.equal(sentTo.length, 16);
  alive({ ...aMember, node: 'own', ip: ipBytes('::ffff:10.0.0.9'), incarnation: 1 });
  t.equal(errors(), '', 'the own address in its long form is no other');
  dead('own');
  t.equal(known('own'), `alive ${OWN}`);
  t.equal(node.membership.member('own')?.incarnation, 6, 'that it is dead is refuted as ever');
  node.membership.leave();
  clock.passSync(MINUTE_MS);
  alive({ ...itsTwin, node: 'own' });
  t.equal(errors(), '', 'who has left has no name to keep');
  node.stop();
  t.end();
});

t.test('who has been gone for long enough is forgotten, and its name is free', (t) => {
  const { node, clock, alive, dead, known } = aNode(0);
  alive(aMember);
  alive({ ...aMember, node: 'b' });
  node.start();
  dead('a');
  dead('b', 'b');
  clock.passSync(30_000);
  t.same([known(), known('b')], [`dead ${OLD}`, `left ${OLD}`], 'as long as news are told to the dead');
  // And until the round of probes is over.
  clock.passSync(10_000);
  t.same([known(), known('b')], [undefined, undefined]);
  alive(itsTwin);
  t.equal(known(), `alive ${NEW}`);
  t.equal(known('own'), `alive ${OWN}`);
  node.stop();
  t.end();
});

const VERSIONS: readonly { name: string; input: readonly number[]; isRight: boolean }[] = [
  { name: 'as of today', input: [1, 5, 2, 0, 0, 0], isRight: true },
  { name: 'only one', input: [2, 2, 2, 0, 0, 0], isRight: true },
  { name: 'none, as of old members', input: [], isRight: true },
  { name: 'the least is 0', input: [0, 5, 2, 0, 0, 0], isRight: false },
  { name: 'the most is 0', input: [1, 0, 2, 0, 0, 0], isRight: false },
  { name: 'all are 0', input: [0, 0, 0, 0, 0, 0], isRight: false },
  { name: 'the least is above the most', input: [5, 4, 5, 0, 0, 0], isRight: false },
];

t.test('members with impossible versions', (t) => {
  for (const { name, input, isRight } of VERSIONS) {
    const { node, alive, known, warnings } = aNode(0);
    const queued = node.queuedMessages;
    alive({ ...aMember, versions: input });
    t.equal(known(), isRight ? `alive ${OLD}` : undefined, name);
    t.equal(node.queuedMessages, queued + (isRight ? 1 : 0), name);
    const want =
      /gossip tells of a member with impossible versions, which is ignored.*member=a addr=10\.0\.0\.1/;
    if (isRight) t.equal(warnings(), '', name);
    else t.match(warnings(), want, name);
    const members = [
      { ...aMember, node: 'b', versions: input, state: 'alive' as const },
      { ...aMember, node: 'c', state: 'alive' as const },
    ];
    node.request(encodePushPull({ isJoin: true, members, userState: new Uint8Array(0) }));
    t.equal(known('b') !== undefined, isRight, `${name}: who joins`);
    t.equal(known('c'), `alive ${OLD}`, `${name}: others are heard`);
    alive({ ...aMember, node: 'c', incarnation: 6, versions: input });
    t.equal(node.membership.member('c')?.incarnation, isRight ? 6 : 5, `${name}: who is known`);
    t.same(
      node.membership.member('c')?.versions,
      isRight && input.length > 0 ? input : aMember.versions,
      name,
    );
    node.stop();
  }
  t.end();
});

async function aService(
  t: Test,
  nodeName: string,
  joinMembers: readonly string[] = [],
): Promise<GossipService> {
  const times = { gossipIntervalMs: 20, minJoinBackoffMs: 20, maxJoinBackoffMs: 50 };
  const more = { nodeName, randomizeNodeName: false, joinMembers: [...joinMembers] };
  const service = new GossipService({
    config: memberlistConfig({ bindAddr: ['127.0.0.1'], bindPort: 0, ...times, ...more }),
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    metrics: new Metrics(),
  });
  t.teardown(() => service.stop());
  await service.start();
  return service;
}

const addressOf = ({ members, nodeName }: GossipService): string =>
  members.find(({ name }) => name === nodeName)?.addressText ?? '';

t.test('/memberlist: HTML for browsers, else JSON', async (t) => {
  const one = await aService(t, 'z<1>');
  const other = await aService(t, 'a&2', [addressOf(one)]);
  t.ok(await until(async () => one.members.length === 2 && other.members.length === 2, 20_000));
  const instance = instanceOf({ id: 'i', state: 'ACTIVE', timestampSec: Math.floor(Date.now() / 1000) });
  await one.store.change('collectors/<ring>', () => new Map([['i', instance]]));
  const now = '2026-01-02T03:04:05.678Z';
  const app = Fastify();
  t.teardown(() => app.close());
  registerMemberlistPage(
    app,
    () => one,
    () => new Date(now),
  );
  const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const page = await app.inject({ url: '/memberlist', headers: { accept: BROWSER } });
  t.equal(page.statusCode, 200);
  t.equal(page.headers['content-type'], 'text/html; charset=utf-8');
  t.match(page.headers['content-security-policy'], "default-src 'none'");
  const cells = [...page.body.matchAll(/<tr>(.*)<\/tr>/g)].map(([, row]) =>
    row?.split(/<\/?t[dh]>/).join('|'),
  );
  t.same(cells, [
    '|Name||Address||State|',
    `|a&#38;2||${addressOf(other)}||alive|`,
    `|z&#60;1&#62;||${addressOf(one)}||alive|`,
    '|Key||Codec||Instances|',
    '|collectors/&#60;ring&#62;||ringDesc||1|',
  ]);
  for (const want of ['<h1>Memberlist Status</h1>', now, 'Health score: 0']) t.match(page.body, want);
  for (const accept of [undefined, '*/*', 'application/json', 'text/html, application/json']) {
    const answer = await app.inject({ url: '/memberlist', headers: accept === undefined ? {} : { accept } });
    const name = `accept: ${accept}`;
    t.match(answer.headers['content-type'], 'application/json', name);
    const same = { State: 0, Incarnation: Number, PMin: 1, PMax: 5, PCur: 2 };
    t.match(
      answer.json(),
      {
        Now: now,
        Name: 'z<1>',
        HealthScore: 0,
        SortedMembers: [
          { Name: 'a&2', Address: addressOf(other), ...same },
          { Name: 'z<1>', Address: addressOf(one), ...same },
        ],
        Store: { 'collectors/<ring>': { CodecID: 'ringDesc', Instances: 1 } },
      },
      name,
    );
  }
  await other.stop();
  t.ok(await until(async () => one.members.some(({ state }) => state === 'left'), 20_000));
  const left = (await app.inject('/memberlist')).json().SortedMembers;
  t.match(
    left,
    [
      { Name: 'a&2', State: 3 },
      { Name: 'z<1>', State: 0 },
    ],
    'who has left is shown as that',
  );
  const html = await app.inject({ url: '/memberlist', headers: { accept: BROWSER } });
  t.match(html.body, /a&#38;2<\/td><td>[^<]*<\/td><td>left</);
});
