// Does a request of HTTP that came by another way, as if it had come to the HTTP port.
import type { FastifyInstance, InjectOptions } from 'fastify';
import type { HttpGrpcRequest, HttpGrpcResponse } from '../contracts/httpgrpc.ts';

export async function injectRequest(
  app: FastifyInstance,
  { method, url, headers, body }: HttpGrpcRequest,
  signal: AbortSignal,
): Promise<HttpGrpcResponse> {
  const answer = await app.inject({
    method: method as Exclude<InjectOptions['method'], undefined>,
    url,
    headers: Object.fromEntries(headers),
    ...(body.length > 0 ? { payload: Buffer.from(body) } : {}),
    signal,
  });
  const said = Object.entries(answer.headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[canonical(name), String(value)] as const],
  );
  return { code: answer.statusCode, headers: said, body: answer.rawPayload };
}

/** As programs in Go write header names, which look for them so: `Content-Type`. */
function canonical(name: string): string {
  return name.replaceAll(/(?:^|-)[a-z]/g, (start) => start.toUpperCase());
}
