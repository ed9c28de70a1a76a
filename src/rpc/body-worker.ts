// A thread that works on bodies: one job a message, one result each.
import { parentPort } from 'node:worker_threads';
import { TempoError } from '../lib/errors.ts';
import { SnappyFramer } from '../lib/snappy-frames.ts';
import { requestOfJson } from '../model/otlp/json.ts';
import type { BodyJob, BodyResult } from './body-threads.ts';
import { inflateByHand } from './inflate-by-hand.ts';

const port = parentPort;
const framer = new SnappyFramer();

function work(job: BodyJob): Uint8Array {
  switch (job.kind) {
    case 'otlpJson':
      return requestOfJson(job.bytes);
    case 'frame':
      return framer.frame(job.bytes);
    case 'inflate':
      return inflateByHand(job.encoding, job.bytes, job.sizeMax);
  }
}

function run(job: BodyJob): void {
  try {
    const bytes = work(job);
    // Whatever else is in its buffer stays here.
    const own = bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
    port?.postMessage({ kind: 'done', bytes: own } satisfies BodyResult, [own.buffer as ArrayBuffer]);
  } catch (err) {
    const code = err instanceof TempoError ? err.code : 'internal';
    const message = err instanceof Error ? err.message : String(err);
    port?.postMessage({ kind: 'failed', code, message } satisfies BodyResult);
  }
}

port?.on('message', run);
