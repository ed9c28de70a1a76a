// What the address says is shown: `?trace=ID`, or `?q=TRACEQL` with how far back it looks. Every state of the
// page is such an address, so that it can be sent to others.

export interface PageState {
  /** Empty = the search is shown. */
  readonly trace: string;
  readonly q: string;
  readonly sinceSeconds: number;
  readonly tenant: string;
}

export const DEFAULT_QUERY = '{}';
const DEFAULT_SINCE_SECONDS = 3600;

export function stateOf(search: string): PageState {
  const params = new URLSearchParams(search);
  const since = Number(params.get('since'));
  return {
    trace: (params.get('trace') ?? '').trim(),
    q: params.get('q') ?? DEFAULT_QUERY,
    sinceSeconds: Number.isInteger(since) && since > 0 ? since : DEFAULT_SINCE_SECONDS,
    tenant: params.get('tenant') ?? '',
  };
}

/** The address of a state, relative to the page; what is as usual is left out. */
export function pageLink(state: PageState): string {
  const params = new URLSearchParams();
  if (state.trace !== '') params.set('trace', state.trace);
  if (state.q !== DEFAULT_QUERY && state.trace === '') params.set('q', state.q);
  if (state.sinceSeconds !== DEFAULT_SINCE_SECONDS && state.trace === '') {
    params.set('since', String(state.sinceSeconds));
  }
  if (state.tenant !== '') params.set('tenant', state.tenant);
  const text = params.toString();
  return text === '' ? './' : `./?${text}`;
}
