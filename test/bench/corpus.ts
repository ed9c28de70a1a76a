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

/** Runs of requests with about so many spans each; what is left belongs to the last. */
export function cutCorpus(corpus: Corpus, spans: readonly number[]): Corpus[] {
  const parts: Corpus[] = [];
  let from = 0;
  for (const [at, wanted] of spans.entries()) {
    let to = from;
    let held = 0;
    while (to < corpus.requests.length && (held < wanted || at === spans.length - 1)) {
      held += corpus.requests[to++]!.spans;
    }
    const requests = corpus.requests.slice(from, to);
    const bytes = requests.reduce((sum, { body }) => sum + body.length, 0);
    parts.push({ ...corpus, requests, spans: held, bytes });
    from = to;
  }
  return parts;
}
