// Loaded before a program (`node --import`): names in the file HOSTS_DOUBLE are looked up in it at that time,
// as if a name server knew them. A line is an address and a name.
import type { LookupAddress, LookupOptions } from 'node:dns';
import dns from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const file = process.env['HOSTS_DOUBLE'];
const { lookup } = dns;

function addressesOf(name: string): LookupAddress[] {
  const lines = file === undefined ? [] : readFileSync(file, 'utf8').split('\n');
  const pairs = lines.map((line) => line.split(' '));
  return pairs.flatMap(([address, host]) => (host === name ? [{ address: address!, family: 4 }] : []));
}

async function doubled(host: string, options: LookupOptions): Promise<LookupAddress | LookupAddress[]> {
  const found = addressesOf(host);
  return found.length > 0 ? found : lookup(host, options);
}

Object.assign(dns, { lookup: doubled });
syncBuiltinESMExports();
