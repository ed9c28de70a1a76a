// The certificates of test/certs, as text and as files. They last for a hundred years.
import { readFileSync } from 'node:fs';

type Leaf = 'server' | 'server-2' | 'client' | 'member' | 'strange-client';

export function certFile(name: Leaf | 'authority' | 'stranger', kind: 'pem' | 'key' = 'pem'): string {
  return new URL(`../certs/${name}.${kind}`, import.meta.url).pathname;
}

/** What a client or server shows. */
export function identity(name: Leaf): { readonly cert: string; readonly key: string } {
  return { cert: readFileSync(certFile(name), 'utf8'), key: readFileSync(certFile(name, 'key'), 'utf8') };
}

export const AUTHORITY = readFileSync(certFile('authority'), 'utf8');
