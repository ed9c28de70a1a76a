// The traces that a search found, newest first, as a list of links.
import { foreign, h } from './dom.ts';
import { agoText, countText, durationText, hueOf, lineText, timeText } from './format.ts';
import { NO_SERVICE } from './span-tree.ts';
import type { FoundTrace } from './tempo-api.ts';

const NANOS_IN_MS = 1e6;

/**
 * @param tellsMatches how many spans matched is worth telling. @param linkOf the address of a trace's
 * page.
 */
export function traceList(
  traces: readonly FoundTrace[],
  tellsMatches: boolean,
  linkOf: (id: string) => string,
): HTMLElement {
  const longest = Math.max(1, ...traces.map(({ durationMs = 0 }) => durationMs));
  const list = h('ol', { class: 'traces' });
  for (const trace of traces)
    list.append(h('li', {}, traceLink(trace, longest, tellsMatches, linkOf(trace.traceID))));
  return list;
}

function traceLink(trace: FoundTrace, longestMs: number, tellsMatches: boolean, href: string): HTMLElement {
  const { rootServiceName = NO_SERVICE, rootTraceName = '', durationMs = 0 } = trace;
  const startMs = Number(trace.startTimeUnixNano ?? 0) / NANOS_IN_MS;
  const stats = Object.values(trace.serviceStats ?? {});
  const total = (pick: 'spanCount' | 'errorCount'): number =>
    stats.reduce((sum, service) => sum + (service[pick] ?? 0), 0);
  const matched = (trace.spanSets ?? []).reduce((sum, set) => sum + (set.matched ?? 0), 0);
  const [spans, errors] = [total('spanCount'), total('errorCount')];
  const bar = h('span', { class: 'bar' });
  bar.style.width = `${Math.max(1, (durationMs / longestMs) * 100)}%`;
  return h(
    'a',
    { href, hue: hueOf(rootServiceName), title: trace.traceID },
    h(
      'span',
      { class: 'what' },
      foreign(lineText(rootTraceName) || '(no root span yet)', 'name'),
      errors > 0 ? h('span', { class: 'error' }, countText(errors, 'error')) : undefined,
    ),
    h(
      'span',
      { class: 'where' },
      h('span', { class: 'dot' }),
      foreign(lineText(rootServiceName), 'service'),
      h('span', {}, spanText(spans, stats.length)),
      tellsMatches ? h('span', {}, `${matched.toLocaleString()} matched`) : undefined,
    ),
    h('time', { class: 'when', title: timeText(startMs) }, agoText(Date.now() - startMs)),
    h('span', { class: 'long' }, durationText(durationMs), h('span', { class: 'track' }, bar)),
  );
}

function spanText(spans: number, services: number): string {
  if (spans === 0) return '';
  return `${countText(spans, 'span')} in ${countText(services, 'service')}`;
}
