// One GET for a body of bounded size: from other servers that speak HTTP. No retries, redirects as usual.
import { TempoError } from '../lib/errors.ts';

export interface HttpGetOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** A larger body is an error. */
  readonly bytesMax: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** Throws TempoErrors that do not show the URL, which may hold a password. */
export async function httpGet(url: string, options: HttpGetOptions): Promise<HttpAnswer> {
  const { headers, timeoutMs, bytesMax, signal } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  try {
    const response = await fetch(url, { headers, signal: either });
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > bytesMax) {
        throw new TempoError('unavailable', `the answer has more than ${bytesMax} bytes`);
      }
      chunks.push(chunk);
    }
    return { status: response.status, body: new Uint8Array(Buffer.concat(chunks)) };
  } catch (err) {
    signal?.throwIfAborted();
    if (err instanceof TempoError) throw err;
    if (timeout.aborted) throw new TempoError('unavailable', `no answer within ${timeoutMs} ms`);
    const { cause, message } = err as Error & { readonly cause?: { readonly code?: string } };
    throw new TempoError('unavailable', cause?.code ?? message, err);
  }
}
