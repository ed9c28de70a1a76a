// /memberlist: who gossips, and which rings are kept by it; JSON, or HTML for browsers.
import type { FastifyInstance } from 'fastify';
import { escapeHtml, htmlPage } from '../lib/html.ts';
import type { GossipService } from '../ring/gossip/gossip-service.ts';
import { TEXT } from './http-listener.ts';
import { htmlRow, htmlTable, sendHtml, wantsHtml } from './ring-page.ts';

/** In the order of their numbers. */
const STATES = ['alive', 'suspect', 'dead', 'left'];

/** @param gossip undefined = no ring of this process is kept by gossip. */
export function registerMemberlistPage(
  app: FastifyInstance,
  gossip: () => GossipService | undefined,
  now: () => Date,
): void {
  app.all('/memberlist', (request, reply) => {
    const service = gossip();
    if (service === undefined) return reply.type(TEXT).send("This instance doesn't use memberlist.");
    const members = membersOf(service);
    if (wantsHtml(request)) return sendHtml(reply, memberlistHtml(service, members, now()));
    const stored = service.store.values.map(([key, desc]) => [
      key,
      { CodecID: 'ringDesc', Instances: desc.size },
    ]);
    return reply.type('application/json').send({
      Now: now().toISOString(),
      Name: service.nodeName,
      HealthScore: service.health,
      SortedMembers: members,
      Store: Object.fromEntries(stored),
    });
  });
}

/** By the names of memberlist's JSON. */
function membersOf({ members }: GossipService) {
  const sorted = members.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return sorted.map(({ name, addressText, state, incarnation, versions }) => ({
    Name: name,
    Address: addressText,
    State: STATES.indexOf(state),
    Incarnation: incarnation,
    PMin: versions[0] ?? 0,
    PMax: versions[1] ?? 0,
    PCur: versions[2] ?? 0,
  }));
}

function memberlistHtml(service: GossipService, members: ReturnType<typeof membersOf>, now: Date): string {
  const rows = members.map(({ Name, Address, State }) =>
    htmlRow('td', [Name, Address, STATES[State] ?? ''].map(escapeHtml)),
  );
  const keys = service.store.values.map(([key, desc]) =>
    htmlRow('td', [key, 'ringDesc', String(desc.size)].map(escapeHtml)),
  );
  const content = `<p>Health score: ${service.health} (0 is best)</p>
<h2>Members</h2>
${htmlTable(['Name', 'Address', 'State'], rows)}
<h2>Rings</h2>
${htmlTable(['Key', 'Codec', 'Instances'], keys)}`;
  return htmlPage('Memberlist Status', now, content);
}
