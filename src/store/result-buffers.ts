// Which memory of a result of a scan thread moves to the main thread rather than being copied.
import type { ScanResult } from './scan-job.ts';

/** That of large arrays, where nothing else lies in it. */
export function buffersOf(result: ScanResult): ArrayBuffer[] {
  return largeArrays(result).flatMap((array) =>
    array !== undefined && array.buffer instanceof ArrayBuffer && array.byteLength === array.buffer.byteLength
      ? [array.buffer]
      : [],
  );
}

function largeArrays(result: ScanResult): readonly (ArrayBufferView | undefined)[] {
  switch (result.kind) {
    case 'search':
      return [...result.found.chunks, result.found.ids];
    case 'trace':
      return [result.trace];
    case 'finishMetrics':
      return [
        result.bodies,
        result.ends,
        result.text?.bytes,
        result.text?.ends,
        result.text?.fill,
        result.text?.fillFrom,
        result.text?.fillTo,
      ];
    default:
      return [];
  }
}
