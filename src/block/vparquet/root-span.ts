// Which span without a parent is no root all the same: one that a link of its own trace names a child.
import { AttrType } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';

const REF_TYPE = new TextEncoder().encode('opentracing.ref_type');
const CHILD_OF = new TextEncoder().encode('child_of');

function equals(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** True when the span has a link into its own trace that says `opentracing.ref_type=child_of`. */
export function isChildOfLinked(head: HeadReader, trace: number, span: number): boolean {
  const { vecs } = head;
  const from = vecs.spanLinkStart.get(span);
  const to = span + 1 < vecs.spanLinkStart.count ? vecs.spanLinkStart.get(span + 1) : vecs.linkTraceId.count;
  for (let link = from; link < to; link++) {
    if (isOwnTrace(head, trace, vecs.linkTraceId.get(link)) && saysChildOf(head, link)) return true;
  }
  return false;
}

function isOwnTrace(head: HeadReader, trace: number, str: number): boolean {
  const id = str < 0 ? undefined : head.str(str);
  if (id?.length !== 16) return false;
  return id.every((byte, i) => byte === ((head.vecs.traceId.get(trace, i >> 2) >>> (8 * (i & 3))) & 255));
}

function saysChildOf(head: HeadReader, link: number): boolean {
  const { vecs } = head;
  const from = vecs.linkAttrStart.get(link);
  const to = link + 1 < vecs.linkAttrStart.count ? vecs.linkAttrStart.get(link + 1) : vecs.linkAttrKey.count;
  for (let a = from; a < to; a++) {
    const word = vecs.linkAttrKey.get(a);
    if ((word & 15) !== AttrType.string || !equals(head.key(word >>> 4), REF_TYPE)) continue;
    if (equals(head.str(vecs.linkAttrValue.get(a)), CHILD_OF)) return true;
  }
  return false;
}
