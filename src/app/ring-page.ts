// One ring as a page: JSON, or HTML for who asks for it, which browsers do. A POST makes the ring forget an
// instance.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { escapeHtml, htmlPage } from '../lib/html.ts';

const HTML = 'text/html; charset=utf-8';
const POLICY = "default-src 'none'; form-action 'self'";
/** How Go prints a time that was never set. */
const NEVER = '0001-01-01T00:00:00Z';

/** An instance by the names of Tempo's JSON. */
export interface Shard {
  readonly id: string;
  readonly state: string;
  readonly address: string;
  readonly timestamp: string;
  readonly registered_timestamp: string;
  readonly read_only: boolean;
  readonly read_only_updated_timestamp: string;
  readonly zone: string;
  readonly tokens: readonly number[];
}

export interface RingPage {
  readonly url: string;
  readonly shards: () => readonly Shard[];
  /** Share of all keys of an instance, from 0 to 1; undefined = nobody can be forgotten, or has tokens. */
  readonly ownership?: () => ReadonlyMap<string, number>;
  readonly forget?: (id: string) => Promise<unknown>;
  readonly now: () => Date;
}

export function registerRingPage(app: FastifyInstance, page: RingPage): void {
  app.all(page.url, async (request, reply) => {
    if (request.method === 'POST') {
      const id = formValue(request, 'forget');
      if (id !== '') await page.forget?.(id);
      return reply.code(302).header('location', '#').send();
    }
    if (!wantsHtml(request)) {
      return reply.type('application/json').send({ shards: page.shards(), now: page.now().toISOString() });
    }
    const { tokens } = request.query as { readonly tokens?: unknown };
    return sendHtml(reply, ringHtml(page, tokens === 'true'));
  });
}

/** Of a form that a browser sends, or of the query. */
function formValue({ body, query }: FastifyRequest, name: string): string {
  const text = typeof body === 'string' || body instanceof Uint8Array ? Buffer.from(body).toString() : '';
  const inQuery = (query as Readonly<Record<string, unknown>>)[name];
  return new URLSearchParams(text).get(name) ?? (typeof inQuery === 'string' ? inQuery : '');
}

export function wantsHtml({ headers }: FastifyRequest): boolean {
  const accept = headers.accept ?? '';
  return accept.includes('text/html') && !accept.includes('application/json');
}

export function sendHtml(reply: FastifyReply, html: string): FastifyReply {
  return reply.header('content-security-policy', POLICY).type(HTML).send(html);
}

function ringHtml({ shards, ownership, now }: RingPage, showsTokens: boolean): string {
  const owned = ownership?.();
  const more = owned === undefined ? [] : ['Read-Only', 'Tokens', 'Ownership', 'Actions'];
  const heads = ['Instance ID', 'Availability Zone', 'State', 'Address', 'Registered At', 'Last Heartbeat'];
  const all = shards();
  const rows = all.map((shard) => {
    const { id, zone, state, address, registered_timestamp, timestamp, read_only, tokens } = shard;
    const cells = [id, zone, state, address, registered_timestamp, timestamp].map(escapeHtml);
    if (owned !== undefined) {
      const share = `${((owned.get(id) ?? 0) * 100).toPrecision(3)}%`;
      const readOnly = read_only ? `true since ${escapeHtml(shard.read_only_updated_timestamp)}` : 'false';
      cells.push(readOnly, String(tokens.length), share, forgetForm(id));
    }
    return htmlRow('td', cells);
  });
  const table = htmlTable([...heads, ...more], rows);
  return htmlPage('Ring Status', now(), owned === undefined ? table : table + tokensHtml(all, showsTokens));
}

/** They are long, and shown to who asks for them. */
function tokensHtml(shards: readonly Shard[], areShown: boolean): string {
  if (!areShown) return '<p><a href="?tokens=true">Show Tokens</a></p>\n';
  const sections = shards.map(
    ({ id, tokens }) => `<h2>Instance: ${escapeHtml(id)}</h2>\n<p>Tokens:<br>${tokens.join(' ')}</p>\n`,
  );
  return `<p><a href="?tokens=false">Hide Tokens</a></p>\n${sections.join('')}`;
}

function forgetForm(id: string): string {
  return `<form method="POST"><button name="forget" value="${escapeHtml(id)}">Forget</button></form>`;
}

export function htmlTable(heads: readonly string[], rows: readonly string[]): string {
  return `<table border="1"><thead>${htmlRow('th', heads)}</thead>
<tbody>
${rows.join('')}</tbody></table>`;
}

/** @param cells as HTML. */
export function htmlRow(tag: 'td' | 'th', cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>\n`;
}

/** RFC 3339 in whole seconds; of 0 a time that was never set. */
export function timeText(sec: number): string {
  return sec === 0 ? NEVER : `${new Date(sec * 1000).toISOString().slice(0, 19)}Z`;
}
