// One trace: what it is, its waterfall, and the span that is open.
import { copyButton, foreign, h } from './dom.ts';
import { countText, durationText, hueOf, lineText, timeText } from './format.ts';
import { type DetailLinks, spanDetails } from './span-details.ts';
import { traceRows } from './span-tree.ts';
import type { FetchedTrace } from './tempo-api.ts';
import { type Waterfall, waterfall } from './waterfall.ts';

export interface TraceView {
  readonly title: string;
  readonly element: HTMLElement;
  readonly waterfall: Waterfall;
}

const SERVICES_MAX = 12;

/** @returns undefined when the trace has no spans. */
export function traceView(traceId: string, fetched: FetchedTrace, links: DetailLinks): TraceView | undefined {
  const trace = traceRows(fetched.trace ?? {});
  const root = trace.rows[0];
  if (root === undefined) return undefined;
  const aside = h('aside', { class: 'details', label: 'The open span' });
  aside.hidden = true;
  const spans = waterfall({
    trace,
    onOpen: (row) => {
      aside.hidden = row === undefined;
      aside.replaceChildren(
        ...(row === undefined ? [] : spanDetails(row, links, () => spans.close())).filter(
          (child) => child !== undefined,
        ),
      );
      aside.scrollTop = 0;
    },
  });
  const isPartial = fetched.status === 'PARTIAL';
  const title = lineText(root.isOrphan ? '(no root span yet)' : root.name) || '(no name)';
  const element = h(
    'article',
    { class: 'trace' },
    h(
      'header',
      {},
      h('h1', {}, foreign(title)),
      h('p', { class: 'id' }, h('code', {}, traceId), ' ', copyButton(traceId, 'the trace id')),
      h(
        'p',
        { class: 'sum' },
        h('strong', {}, durationText(trace.durationMs)),
        h('span', {}, countText(trace.rows.length, 'span')),
        h('span', {}, countText(trace.services.size, 'service')),
        trace.errors > 0 ? h('span', { class: 'error' }, countText(trace.errors, 'error')) : undefined,
        h('time', {}, timeText(trace.startUnixMs)),
      ),
      services(trace.services),
      isPartial
        ? h('p', { class: 'note' }, `Not all of it: ${fetched.message ?? 'the trace is too large'}`)
        : undefined,
    ),
    h('div', { class: 'beside' }, spans.element, aside),
  );
  return { title, element, waterfall: spans };
}

function services(counts: ReadonlyMap<string, number>): HTMLElement {
  const list = h('ul', { class: 'services', label: 'Services' });
  for (const [service, spans] of [...counts].slice(0, SERVICES_MAX)) {
    const dot = h('span', { class: 'dot' });
    const count = h('span', { class: 'aside' }, String(spans));
    list.append(h('li', { hue: hueOf(service) }, dot, foreign(lineText(service, 60)), count));
  }
  if (counts.size > SERVICES_MAX) list.append(h('li', {}, `and ${counts.size - SERVICES_MAX} more`));
  return list;
}
