// In which order found traces come, and which of them lie behind a place in that order.

/** Traces with equal values come by ascending id. */
export interface TraceOrder {
  readonly by: 'start' | 'duration';
  readonly isDescending: boolean;
}

export const NEWEST_FIRST: TraceOrder = { by: 'start', isDescending: true };

/** The place of a trace in an order: what is asked for lies behind it. */
export interface TracePosition {
  /** Nanoseconds: its start, or its duration. */
  readonly value: bigint;
  /** Hex without leading zeros. */
  readonly traceId: string;
}

/** What an order looks at. */
export interface Ordered {
  /** Hex without leading zeros. */
  readonly traceId: string;
  readonly startUnixNano: bigint;
  readonly durationNanos: bigint;
}

export function isNewestFirst({ by, isDescending }: TraceOrder): boolean {
  return by === 'start' && isDescending;
}

export function positionOf(trace: Ordered, { by }: TraceOrder): TracePosition {
  return { value: by === 'start' ? trace.startUnixNano : trace.durationNanos, traceId: trace.traceId };
}

/** A comparison for sorting. */
export function comparing(order: TraceOrder): (a: Ordered, b: Ordered) => number {
  if (isNewestFirst(order)) return newestFirst;
  return (a, b) => comparePositions(positionOf(a, order), positionOf(b, order), order);
}

/** Newest start first; equal starts by id, so that the same query gives the same answer. */
export function newestFirst(a: Ordered, b: Ordered): number {
  if (a.startUnixNano !== b.startUnixNano) return a.startUnixNano > b.startUnixNano ? -1 : 1;
  return compareIds(a.traceId, b.traceId);
}

/** Below 0: `a` comes before `b`. */
export function comparePositions(a: TracePosition, b: TracePosition, { isDescending }: TraceOrder): number {
  if (a.value === b.value) return compareIds(a.traceId, b.traceId);
  return a.value < b.value === isDescending ? 1 : -1;
}

/** As the bytes of the ids would compare: of two without leading zeros the shorter is the smaller. */
function compareIds(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
