// The page: forms, address and what is shown between them. One thing is loaded at a time; a newer wish ends
// the older one.
import type { PageFacts } from '../api/page-facts.ts';
import { byId, h, type Child } from './dom.ts';
import { DEFAULT_QUERY, pageLink, type PageState, stateOf } from './page-state.ts';
import { sendHelp } from './send-help.ts';
import { type Asking, fetchTrace, Refusal, search } from './tempo-api.ts';
import { traceList } from './trace-list.ts';
import { traceView } from './trace-view.ts';
import type { Waterfall } from './waterfall.ts';

const DAY_SECONDS = 86_400;
const NOT_FOUND = 404;
const UNAUTHORIZED = 401;
const TITLE = 'Tempo';

const facts = JSON.parse(
  document.querySelector('meta[name=tempo]')?.getAttribute('content') ?? '',
) as PageFacts;
const searchForm = byId('search', HTMLFormElement);
const query = byId('q', HTMLInputElement);
const since = byId('since', HTMLSelectElement);
const traceForm = byId('open', HTMLFormElement);
const traceBox = byId('trace', HTMLInputElement);
const tenantForm = byId('as', HTMLFormElement);
const tenantBox = byId('tenant', HTMLInputElement);
const result = byId('result', HTMLElement);
const help = byId('help', HTMLDetailsElement);

let state = stateOf(location.search);
/** The last search, to which one comes back from a trace. */
let asked = { q: state.q, sinceSeconds: state.sinceSeconds };
let loading = new AbortController();
let shown: Waterfall | undefined;

const linkWith = (change: Partial<PageState>): string => pageLink({ ...state, trace: '', ...change });

function go(change: Partial<PageState>): void {
  history.pushState(null, '', linkWith(change));
  void show();
}

function place(...children: readonly Child[]): void {
  shown = undefined;
  result.replaceChildren(...children.filter((child) => child !== undefined));
}

/** Shows what the address says. */
async function show(): Promise<void> {
  const said = stateOf(location.search);
  if (said.trace === '') asked = { q: said.q, sinceSeconds: said.sinceSeconds };
  state = { ...said, ...asked };
  query.value = state.q;
  since.value = String(state.sinceSeconds);
  traceBox.value = state.trace;
  tenantBox.value = state.tenant;
  byId('send', HTMLElement).replaceChildren(...sendHelp(facts, state.tenant));
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const asking: Asking = { prefix: facts.apiPrefix, tenant: state.tenant, signal };
  document.title = TITLE;
  document.body.classList.toggle('open', state.trace !== '');
  result.setAttribute('aria-busy', 'true');
  place(
    h('p', { class: 'loading', role: 'status' }, state.trace === '' ? 'Searching…' : 'Opening the trace…'),
  );
  try {
    await (state.trace === '' ? showSearch(asking) : showTrace(asking));
  } catch (err) {
    if (signal.aborted) return;
    showError(err);
  }
  result.setAttribute('aria-busy', 'false');
}

async function showSearch(asking: Asking): Promise<void> {
  const found = await search(asking, state.q, state.sinceSeconds);
  const isAll = state.q.trim() === DEFAULT_QUERY;
  if (found.length === 0) {
    const wider = state.sinceSeconds < DAY_SECONDS;
    if (isAll) help.open = true;
    place(
      h(
        'div',
        { class: 'empty', role: 'status' },
        h('h1', {}, isAll ? 'No traces yet' : 'Nothing found'),
        h('p', {}, `Not in the ${since.selectedOptions[0]?.text.toLowerCase() ?? 'time asked for'}.`),
        wider
          ? h('a', { class: 'button', href: linkWith({ sinceSeconds: DAY_SECONDS }) }, 'Look in the last day')
          : undefined,
      ),
    );
    return;
  }
  const title = isAll ? 'Last traces' : 'Traces found';
  place(
    h('h1', {}, title),
    traceList(found, !isAll, (trace) => linkWith({ trace })),
  );
}

async function showTrace(asking: Asking): Promise<void> {
  const back = h('a', { class: 'back', href: linkWith({}) }, '← Traces');
  const links = {
    toTrace: (trace: string) => linkWith({ trace }),
    toQuery: (q: string) => linkWith({ q }),
  };
  const fetched = await fetchTrace(asking, state.trace);
  const view = traceView(state.trace, fetched, links);
  if (view === undefined) throw new Refusal(NOT_FOUND, 'trace not found');
  place(back, view.element);
  document.title = `${view.title} · ${TITLE}`;
  shown = view.waterfall;
  shown.draw();
  shown.focus();
}

function showError(err: unknown): void {
  const isRefusal = err instanceof Refusal;
  const isMissing = isRefusal && err.status === NOT_FOUND;
  const title = isMissing
    ? 'Not found'
    : isRefusal
      ? `The server refused this (${err.status})`
      : 'The server did not answer';
  const message = err instanceof Error ? err.message : String(err);
  const hint =
    isRefusal && err.status === UNAUTHORIZED
      ? h('p', {}, 'Name the tenant above: it is sent as X-Scope-OrgID.')
      : undefined;
  place(
    h('div', { class: 'failure', role: 'alert' }, h('h1', {}, title), h('pre', {}, message), hint),
    state.trace === '' ? undefined : h('a', { class: 'back', href: linkWith({}) }, '← Traces'),
  );
}

/** Links within the page are followed without loading it again. */
function follow(event: MouseEvent): void {
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!isPlain || link?.getAttribute('href')?.startsWith('./') !== true || link.target !== '') return;
  event.preventDefault();
  history.pushState(null, '', link.href);
  scrollTo(0, 0);
  void show();
}

/** A trace id as it is pasted: with dashes, spaces or 0x. */
function cleanId(text: string): string {
  return text.trim().replaceAll(/^0x|[\s-]/g, '');
}

function onSubmit(form: HTMLFormElement, change: () => Partial<PageState>): void {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    go(change());
  });
}

onSubmit(searchForm, () => ({ q: query.value.trim() || DEFAULT_QUERY, sinceSeconds: Number(since.value) }));
onSubmit(traceForm, () => ({ trace: cleanId(traceBox.value) }));
onSubmit(tenantForm, () => ({ trace: state.trace, tenant: tenantBox.value.trim() }));
since.addEventListener('change', () => searchForm.requestSubmit());
document.addEventListener('click', follow);
addEventListener('popstate', () => void show());
addEventListener('scroll', () => shown?.draw(), { passive: true });
addEventListener('resize', () => shown?.draw());
tenantForm.hidden = !facts.multitenancy;
byId('version', HTMLElement).textContent = facts.version;
void show();
