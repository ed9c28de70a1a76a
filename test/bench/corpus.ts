// A corpus of serialised OTLP requests: NNNNNN.pb files, ids.txt and manifest.json in one folder.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Corpus = {
  readonly folder: string;
  readonly requests: readonly { readonly body: Uint8Array; readonly spans: number }[];
  readonly spans: number;
  readonly bytes: number;
  readonly traceIds: readonly string[];
  readonly startSec: number;
  readonly endSec: number;
};

type Manifest = {
  readonly start: number;
  readonly end: number;
  readonly requests: readonly { readonly file: string; readonly spans: number }[];
};

/** Reads a corpus into memory; `spansMax` keeps its first requests only. */
export function readCorpus(folder: string, spansMax = Infinity): Corpus {
  const manifest: Manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  const requests: { body: Uint8Array; spans: number }[] = [];
  let spans = 0;
  let bytes = 0;
  for (const request of manifest.requests) {
    if (spans >= spansMax) break;
    const body = readFileSync(join(folder, request.file));
    requests.push({ body, spans: request.spans });
    spans += request.spans;
    bytes += body.length;
  }
  const traceIds = readFileSync(join(folder, 'ids.txt'), 'utf8').split(/\s+/).filter(Boolean);
  return { folder, requests, spans, bytes, traceIds, startSec: manifest.start, endSec: manifest.end };
}
