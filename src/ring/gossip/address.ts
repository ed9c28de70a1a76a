// Addresses of members: bytes as they travel, and host:port as they are dialled.
import { isIPv4, isIPv6 } from 'node:net';
import { TempoError } from '../../lib/errors.ts';
import type { Address } from './messages.ts';

export function addressText({ ip, port }: Address): string {
  const short = shortIp(ip);
  return short.length === 4 ? `${short.join('.')}:${port}` : `[${ipv6Text(short)}]:${port}`;
}

/** Members in Go send an IPv4 address in its long form, and pass on both. */
function shortIp(ip: Uint8Array): Uint8Array {
  const isLong = ip.length === 16 && ip[10] === 255 && ip[11] === 255;
  return isLong && ip.subarray(0, 10).every((byte) => byte === 0) ? ip.subarray(12) : ip;
}

export function isSameAddress(a: Address, b: Address): boolean {
  const [ip, other] = [shortIp(a.ip), shortIp(b.ip)];
  return a.port === b.port && ip.length === other.length && ip.every((byte, i) => byte === other[i]);
}

function ipv6Text(ip: Uint8Array): string {
  return Array.from({ length: 8 }, (_, i) => ((ip[i * 2] << 8) | ip[i * 2 + 1]).toString(16)).join(':');
}

/** Throws TempoError when the text is no IP address. */
export function ipBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split('.').map(Number));
  if (!isIPv6(text)) throw new TempoError('invalid_argument', `"${text}" is no IP address`);
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const plain = dotted === null ? text : `${dotted[1]}${hexPairs(ipBytes(dotted[2]))}`;
  const [head = '', tail] = plain.replace(/%.*$/, '').split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const words = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return Uint8Array.from(
    words.flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]),
  );
}

function hexPairs([a, b, c, d]: Uint8Array): string {
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** Host and port of `host:port`, `[v6]:port` or a host alone. */
export function splitHostPort(
  text: string,
  defaultPort: number,
): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(text);
  if (match === null) return { host: text, port: defaultPort };
  return { host: match[1] ?? match[2] ?? '', port: match[3] === undefined ? defaultPort : Number(match[3]) };
}
