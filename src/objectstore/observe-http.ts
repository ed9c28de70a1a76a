// Tells of the HTTP requests that this thread makes, whatever SDK makes them, by Node's own channel.
import diagnostics from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';

/** Told of each request that was answered; what was not is a retry. */
export type ObserveRequest = (method: string, status: number, seconds: number) => void;

/** Where clouds keep the credentials of their instances: not the object store. */
const METADATA_HOSTS = new Set(['169.254.169.254', '169.254.170.2', 'metadata.google.internal']);

export function observeHttp(observe: ObserveRequest): void {
  const begun = new WeakMap<ClientRequest, number>();
  diagnostics.subscribe('http.client.request.start', (message) => {
    const { request } = message as { request: ClientRequest };
    begun.set(request, performance.now());
  });
  diagnostics.subscribe('http.client.response.finish', (message) => {
    const { request, response } = message as { request: ClientRequest; response: IncomingMessage };
    const at = begun.get(request);
    if (at === undefined || METADATA_HOSTS.has(request.host)) return;
    observe(request.method, response.statusCode ?? 0, (performance.now() - at) / 1000);
  });
}
