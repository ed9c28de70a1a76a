// All that a span says, beside the waterfall.
import { copyButton, foreign, h, type Child } from './dom.ts';
import { countText, durationText, hueOf } from './format.ts';
import type { JsonAttribute } from '../api/json-shapes.ts';
import { queryFor, type Row, type SpanLink, valueText } from './span-tree.ts';

export interface DetailLinks {
  readonly toTrace: (id: string) => string;
  readonly toQuery: (q: string) => string;
}

type Scope = 'span' | 'resource' | 'event';

/** Longer texts are cut, which browsers lay out slowly; they can be copied whole. */
const TEXT_MAX = 2000;

export function spanDetails(row: Row, links: DetailLinks, onClose: () => void): readonly Child[] {
  return [
    h(
      'header',
      { hue: hueOf(row.service) },
      h('h2', {}, whole(row.name || '(no name)')),
      h('button', { class: 'quiet', type: 'button', label: 'Close the span', onclick: onClose }, '✕'),
    ),
    facts(row),
    attributes('Span attributes', 'span', row.attributes, links),
    events(row, links),
    linked(row.links, links),
    attributes('Resource', 'resource', row.resource, links),
  ];
}

function facts(row: Row): HTMLElement {
  const list = h('dl', { class: 'facts' });
  const add = (name: string, ...value: readonly Child[]): void => {
    list.append(h('div', {}, h('dt', {}, name), h('dd', {}, ...value)));
  };
  add('Service', whole(row.service));
  if (row.kind !== '' && row.kind !== 'unspecified') add('Kind', row.kind);
  add('Starts after', durationText(row.startMs));
  add('Takes', durationText(row.durationMs));
  if (row.isError) add('Status', h('span', { class: 'error' }, 'error'), ' ', whole(row.statusMessage));
  if (row.isOrphan) add('Parent', 'is not in this trace');
  if (row.scope !== '') add('Scope', whole(row.scope));
  add('Span id', h('code', {}, row.id), ' ', copyButton(row.id, 'the span id'));
  return list;
}

function attributes(
  title: string,
  scope: Scope,
  pairs: readonly JsonAttribute[],
  links: DetailLinks,
): HTMLElement | undefined {
  if (pairs.length === 0) return undefined;
  return h('section', {}, h('h3', {}, title), pairsTable(scope, pairs, links));
}

function pairsTable(scope: Scope, pairs: readonly JsonAttribute[], links: DetailLinks): HTMLElement {
  const body = h('tbody', {});
  for (const { key, value } of pairs) {
    const query = queryFor(scope, key, value);
    const text = whole(valueText(value));
    const shown =
      query === undefined
        ? text
        : h('a', { href: links.toQuery(query), title: 'Search for spans with this value' }, text);
    body.append(h('tr', {}, h('th', {}, whole(key)), h('td', {}, shown)));
  }
  return h('table', {}, body);
}

function events({ events: all }: Row, links: DetailLinks): HTMLElement | undefined {
  if (all.length === 0) return undefined;
  const section = h('section', {}, h('h3', {}, 'Events'));
  for (const { name, atMs, attributes: pairs } of all) {
    section.append(h('h4', {}, whole(name), h('span', { class: 'aside' }, `after ${durationText(atMs)}`)));
    if (pairs.length > 0) section.append(pairsTable('event', pairs, links));
  }
  return section;
}

function linked(all: readonly SpanLink[], links: DetailLinks): HTMLElement | undefined {
  if (all.length === 0) return undefined;
  const section = h('section', {}, h('h3', {}, 'Links'));
  for (const { traceId, spanId } of all) {
    const link = h('a', { href: links.toTrace(traceId) }, h('code', {}, traceId));
    section.append(h('p', {}, link, ' span ', h('code', {}, spanId)));
  }
  return section;
}

/** Text of a stranger, cut where it is long. */
function whole(text: string): HTMLElement {
  const more = text.length - TEXT_MAX;
  if (more <= 0) return foreign(text);
  const note = `… ${countText(more, 'character')} more `;
  return h('span', {}, foreign(text.slice(0, TEXT_MAX)), note, copyButton(text, 'all of it'));
}
