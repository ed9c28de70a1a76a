// Binding of listeners: endpoint texts as `host:port`, and an error that names the address.
import { lookup } from 'node:dns/promises';
import type { AddressInfo, Server } from 'node:net';
import { TempoError } from '../lib/errors.ts';
import { connectionsMax } from './open-files.ts';

export interface ListenAddress {
  /** undefined = every interface. */
  readonly host: string | undefined;
  readonly port: number;
  /** undefined = both. */
  readonly family?: 4 | 6 | undefined;
}

/** Of the networks that configuration names: `tcp`, `tcp4` and `tcp6`. */
export function familyOf(network: string): 4 | 6 | undefined {
  if (network === 'tcp4') return 4;
  return network === 'tcp6' ? 6 : undefined;
}

/** Parses `host:port`, `:port` and `[ipv6]:port`. */
export function parseEndpoint(endpoint: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(endpoint);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new TempoError('invalid_argument', `endpoint ${JSON.stringify(endpoint)} is not host:port`);
  }
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? undefined : host, port };
}

/**
 * Starts listening and resolves with the bound address. A server without a limit of connections gets one that
 * leaves files to others.
 */
export async function listen(server: Server, address: ListenAddress): Promise<AddressInfo> {
  if (!(server.maxConnections > 0)) server.maxConnections = connectionsMax();
  const host = (await resolveHost(address)) ?? (address.family === 4 ? '0.0.0.0' : undefined);
  await new Promise<void>((resolve, reject) => {
    const fail = (err: Error): void => reject(cannotListen(address, err));
    server.once('error', fail);
    server.listen({ port: address.port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', fail);
      resolve();
    });
  });
  return server.address() as AddressInfo;
}

/** IPv4 first, as Go binds `localhost`: clients of a collector expect it on 127.0.0.1. */
export async function resolveHost(address: ListenAddress): Promise<string | undefined> {
  if (address.host === undefined) return undefined;
  try {
    const { family = 0, host } = address;
    return (await lookup(host, { order: 'ipv4first', family })).address;
  } catch (err) {
    throw cannotListen(address, err);
  }
}

export function cannotListen(address: ListenAddress, cause: unknown): TempoError {
  const why = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  const reason = why === 'EADDRINUSE' ? 'address already in use' : why;
  return new TempoError(
    'unavailable',
    `cannot listen on ${address.host ?? ''}:${address.port}: ${reason}`,
    cause,
  );
}
