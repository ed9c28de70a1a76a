// The parameters `sort` and `cursor` of a search, which Tempo does not have: another order than newest
// first, and the pages behind the first one.
import { TempoError } from '../lib/errors.ts';
import { NEWEST_FIRST, positionOf } from '../traceql/engine/order.ts';
import type { Ordered, TraceOrder, TracePosition } from '../traceql/engine/order.ts';

export interface PageParams {
  /** undefined = newest first. */
  readonly order: TraceOrder | undefined;
  readonly after: TracePosition | undefined;
}

/** Their values are no tags. */
export const PAGE_PARAMS: readonly string[] = ['sort', 'cursor'];

const ORDERS: ReadonlyMap<string, TraceOrder> = new Map([
  ['-start', NEWEST_FIRST],
  ['start', { by: 'start', isDescending: false }],
  ['-duration', { by: 'duration', isDescending: true }],
  ['duration', { by: 'duration', isDescending: false }],
]);
/** What `cursorBehind` writes. */
const CURSOR = /^(-?[a-z]+)\.(\d{1,20})\.([0-9a-f]{1,32})$/;

export function parsePage(params: URLSearchParams): PageParams {
  const sort = params.get('sort') ?? '';
  const cursor = params.get('cursor') ?? '';
  if (sort !== '' && !ORDERS.has(sort)) {
    const known = [...ORDERS.keys()].join(', ');
    throw invalid(`invalid sort: ${JSON.stringify(sort)} is none of ${known}`);
  }
  if (cursor === '') return { order: ORDERS.get(sort), after: undefined };
  const [, cursorSort = '', value = '', traceId = ''] = CURSOR.exec(cursor) ?? [];
  if (!ORDERS.has(cursorSort)) {
    throw invalid('invalid cursor: it must be what x-tempo-next-cursor of the page before says');
  }
  if (sort !== '' && sort !== cursorSort) {
    throw invalid(`invalid cursor: it belongs to sort=${cursorSort}, not to sort=${sort}`);
  }
  return { order: ORDERS.get(cursorSort), after: { value: BigInt(value), traceId: withoutZeros(traceId) } };
}

/** The cursor for what comes behind a trace. */
export function cursorBehind(trace: Ordered, order: TraceOrder = NEWEST_FIRST): string {
  const { value, traceId } = positionOf(trace, order);
  return `${order.isDescending ? '-' : ''}${order.by}.${value}.${traceId}`;
}

function withoutZeros(traceId: string): string {
  return traceId.replace(/^0+(?=.)/, '');
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
