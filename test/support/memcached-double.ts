// A memcached of the test's own: the few commands that are used, and what it is told to do wrong.
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { MemcachedSettings, RedisSettings } from '../../src/cache/settings.ts';

export const MEMCACHED: MemcachedSettings = {
  kind: 'memcached',
  host: '',
  service: 'memcached',
  addresses: [],
  timeoutMs: 1000,
  connectionsMax: 4,
  itemBytesMax: 0,
  updateIntervalMs: 60_000,
  isConsistent: true,
  pauses: { failuresMax: 0, longMs: 0, forgetMs: 0 },
  tls: undefined,
  ttlMs: 0,
};

/** Of a client of redis in tests. */
export const REDIS: RedisSettings = {
  kind: 'redis',
  endpoints: [],
  masterName: '',
  timeoutMs: 100,
  db: 0,
  username: '',
  password: '',
  sentinelUsername: '',
  sentinelPassword: '',
  tls: undefined,
  ttlMs: 0,
};

const ITEM_BYTES_MAX = 1024 * 1024;

export class MemcachedDouble {
  readonly items = new Map<string, { readonly value: Buffer; readonly expires: number }>();
  readonly commands: string[] = [];
  /** Says nothing any more. */
  isSilent = false;
  /** What it says in place of an answer. */
  answer: string | undefined;
  connections = 0;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  constructor() {
    this.server = createServer((socket) => this.serve(socket));
  }

  async start(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return;
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private serve(socket: Socket): void {
    this.connections++;
    this.sockets.add(socket);
    let received = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (;;) {
        const end = received.indexOf('\r\n');
        if (end < 0) return;
        const line = received.subarray(0, end).toString();
        const taken = this.take(socket, line, received.subarray(end + 2));
        if (taken === undefined) return;
        received = received.subarray(end + 2 + taken);
      }
    });
  }

  /** @returns bytes behind the line that belong to it; undefined = not all are there. */
  private take(socket: Socket, line: string, rest: Buffer): number | undefined {
    const [command = '', key = '', , expires = '0', length = '0'] = line.split(' ');
    const bytes = command === 'set' ? Number(length) + 2 : 0;
    if (rest.length < bytes) return undefined;
    this.commands.push(line);
    if (this.isSilent) return bytes;
    if (this.answer !== undefined) {
      socket.write(this.answer);
      return bytes;
    }
    if (command === 'set') {
      const isTooLarge = bytes > ITEM_BYTES_MAX;
      if (!isTooLarge) {
        this.items.set(key, { value: Buffer.from(rest.subarray(0, bytes - 2)), expires: Number(expires) });
      }
      socket.write(isTooLarge ? 'SERVER_ERROR object too large for cache\r\n' : 'STORED\r\n');
      return bytes;
    }
    const value = this.items.get(key)?.value;
    if (value !== undefined) {
      socket.write(`VALUE ${key} 0 ${value.length}\r\n`);
      socket.write(value);
      socket.write('\r\n');
    }
    socket.write('END\r\n');
    return bytes;
  }
}
