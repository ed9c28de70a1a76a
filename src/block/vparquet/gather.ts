// Takes the elements of a head's vector in another order: plain loops over one chunk type each, since they
// run for every span of a block.
import { FIRST, FIRST_ZEROS } from '../head/layout.ts';
import type { VecReader } from '../head/vec.ts';

/** out[i] = element ids[i] of an i32 vector; -1 stays -1. */
export function gather32(vec: VecReader, ids: Int32Array, out = new Int32Array(ids.length)): Int32Array {
  const chunks = vec.chunks as readonly Int32Array[];
  for (let i = 0; i < ids.length; i++) {
    const at = ids[i] + FIRST;
    if (at < FIRST) {
      out[i] = -1;
      continue;
    }
    const k = FIRST_ZEROS - Math.clz32(at);
    out[i] = chunks[k][at - (FIRST << k)];
  }
  return out;
}

/** As gather32, of the element after; `end` stands for what is behind the last one. */
export function gatherNext32(vec: VecReader, ids: Int32Array, end: number): Int32Array {
  const out = new Int32Array(ids.length);
  const chunks = vec.chunks as readonly Int32Array[];
  for (let i = 0; i < ids.length; i++) {
    const at = ids[i] + 1 + FIRST;
    if (ids[i] < 0) {
      out[i] = -1;
    } else if (at - FIRST >= vec.count) {
      out[i] = end;
    } else {
      const k = FIRST_ZEROS - Math.clz32(at);
      out[i] = chunks[k][at - (FIRST << k)];
    }
  }
  return out;
}

/** Words 2i and 2i + 1 of the result are element ids[i] of a pair vector. */
export function gather64(vec: VecReader, ids: Int32Array): Int32Array {
  const out = new Int32Array(ids.length * 2);
  const chunks = vec.chunks as readonly Int32Array[];
  for (let i = 0; i < ids.length; i++) {
    const at = ids[i] + FIRST;
    const k = FIRST_ZEROS - Math.clz32(at);
    const chunk = chunks[k];
    const word = (at - (FIRST << k)) * 2;
    out[2 * i] = chunk[word];
    out[2 * i + 1] = chunk[word + 1];
  }
  return out;
}

export function gather8(vec: VecReader, ids: Int32Array): Uint8Array {
  const out = new Uint8Array(ids.length);
  const chunks = vec.chunks as readonly Uint8Array[];
  for (let i = 0; i < ids.length; i++) {
    const at = ids[i] + FIRST;
    const k = FIRST_ZEROS - Math.clz32(at);
    out[i] = chunks[k][at - (FIRST << k)];
  }
  return out;
}
