// The addresses behind a name, each an endpoint of its own.
import { lookup } from 'node:dns/promises';
import { TempoError } from '../lib/errors.ts';

const ADDRESS = /^(?:dns:\/\/\/)?(\[[0-9a-fA-F:.]+\]|[^:[\]]+):(\d{1,5})$/;

/** @param address `host:port`. @returns each IP address with the port, sorted. Rejects with TempoError. */
export async function resolveAll(address: string): Promise<string[]> {
  const match = ADDRESS.exec(address);
  if (match === null) throw new TempoError('invalid_argument', `${address} is no host:port`);
  const host = match[1]!.replace(/^\[|\]$/g, '');
  try {
    const found = await lookup(host, { all: true });
    const texts = found.map(({ address: ip, family }) => `${family === 6 ? `[${ip}]` : ip}:${match[2]}`);
    return [...new Set(texts)].sort();
  } catch (err) {
    throw new TempoError('unavailable', `the name ${host} cannot be resolved`, err);
  }
}
