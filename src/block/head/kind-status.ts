// Kind and status of a span: four bits each in one byte, and in full in a vector of their own for the few
// spans whose numbers OTLP has no names for.

/** What a head has of both, for whoever writes and for whoever reads. */
export interface KindStatusVecs {
  readonly spanKindStatus: Numbers;
  readonly spanOddKindStatus: Numbers;
}

interface Numbers {
  readonly count: number;
  get(i: number, word?: number): number;
}

/** Which of the two: the word of the odd ones. */
export const KIND = 1;
export const STATUS = 2;
export type KindOrStatus = typeof KIND | typeof STATUS;

/** In place of a number that four bits do not hold. */
const ODD = 15;

export function packKindStatus(kind: number, status: number): number {
  return fourBits(kind) | (fourBits(status) << 4);
}

export function isOdd(kind: number, status: number): boolean {
  return fourBits(kind) === ODD || fourBits(status) === ODD;
}

function fourBits(number: number): number {
  return number >= 0 && number < ODD ? number : ODD;
}

/** The number as it was sent, an int32. */
export function kindOrStatus(vecs: KindStatusVecs, span: number, which: KindOrStatus): number {
  return inFull(vecs, span, which, unpack(vecs.spanKindStatus.get(span), which));
}

/** What four bits say of one of the two: the number, or ODD. */
export function unpack(packed: number, which: KindOrStatus): number {
  return which === KIND ? packed & 15 : packed >>> 4;
}

/** The number of a span whose four bits are known. */
export function inFull(vecs: KindStatusVecs, span: number, which: KindOrStatus, bits: number): number {
  if (bits !== ODD) return bits;
  const { spanOddKindStatus } = vecs;
  return spanOddKindStatus.get(entryOfSpan(spanOddKindStatus, span), which);
}

/** Where a vector that few spans are in, ascending by word 0, has a span; -1 when it has not. */
export function entryOfSpan(vec: Numbers, span: number): number {
  let low = 0;
  let high = vec.count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = vec.get(middle, 0);
    if (found === span) return middle;
    if (found < span) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
