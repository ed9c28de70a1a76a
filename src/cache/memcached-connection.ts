// One connection to a memcached server: requests are sent at once and answered in order. Whatever is wrong
// ends the connection, since nothing would tell which answer belongs to which request. Protocol:
// https://github.com/memcached/memcached/blob/master/doc/protocol.txt
import * as net from 'node:net';
import * as tls from 'node:tls';

export interface ConnectionOptions {
  /** `host:port`, or the path of a socket. */
  readonly address: string;
  readonly timeoutMs: number;
  readonly tls: tls.ConnectionOptions | undefined;
  /** Called once. */
  readonly onEnd: (cause: Error) => void;
}

interface Waiting {
  readonly endsAtMs: number;
  /** Of a request for a value. */
  readonly key: string | undefined;
  readonly resolve: (value: Uint8Array | undefined) => void;
  readonly reject: (err: Error) => void;
  value: Uint8Array | undefined;
}

const LINE_BYTES_MAX = 2048;
const VALUE_BYTES_MAX = 128 * 1024 * 1024;
const NEWLINE = 10;
const END_OF_LINE = Buffer.from('\r\n');
const DEFAULT_PORT = 11_211;
/** Memcached takes more seconds than these for a date. */
const RELATIVE_SECONDS_MAX = 30 * 24 * 3600;

export class MemcachedConnection {
  private readonly options: ConnectionOptions;
  private readonly socket: net.Socket;
  private readonly waiting: Waiting[] = [];
  private timer: NodeJS.Timeout | undefined;
  private ended: Error | undefined;
  private line = '';
  /** The value that is being received, with the end of its line. */
  private body: Buffer | undefined;
  private bodyBytes = 0;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.socket = connect(options);
    this.socket.setNoDelay(true);
    this.socket.unref();
    this.socket.on('data', (chunk: Buffer) => this.received(chunk));
    this.socket.on('error', (err) => this.end(err));
    this.socket.on('close', () => this.end(new Error('the connection was closed')));
  }

  /** Requests without an answer yet. */
  get load(): number {
    return this.waiting.length;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.send(key, [Buffer.from(`get ${key}\r\n`)]);
  }

  async set(key: string, value: Uint8Array, ttlMs: number): Promise<void> {
    const head = `set ${key} 0 ${expiration(ttlMs, Date.now())} ${value.length}\r\n`;
    await this.send(undefined, [Buffer.from(head), value, END_OF_LINE]);
  }

  close(): void {
    this.end(new Error('the connection was closed'));
  }

  private send(key: string | undefined, parts: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
    if (this.ended !== undefined) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      const endsAtMs = performance.now() + this.options.timeoutMs;
      this.waiting.push({ endsAtMs, key, resolve, reject, value: undefined });
      this.timer ??= setTimeout(() => this.lookAtTime(), this.options.timeoutMs);
      this.socket.cork();
      for (const part of parts) this.socket.write(part);
      this.socket.uncork();
    });
  }

  /** The oldest request is the first whose time is over. */
  private lookAtTime(): void {
    this.timer = undefined;
    const [oldest] = this.waiting;
    if (oldest === undefined) return;
    const leftMs = oldest.endsAtMs - performance.now();
    if (leftMs > 0) {
      this.timer = setTimeout(() => this.lookAtTime(), Math.ceil(leftMs));
      return;
    }
    // An answer that is there already counts, however late this thread comes to it.
    setImmediate(() => {
      if (this.waiting[0] === oldest) this.end(new Error(`no answer within ${this.options.timeoutMs} ms`));
      else if (this.timer === undefined) this.lookAtTime();
    });
  }

  private received(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.ended === undefined) {
      at = this.body === undefined ? this.readLine(chunk, at) : this.readBody(this.body, chunk, at);
    }
  }

  private readLine(chunk: Buffer, at: number): number {
    const end = chunk.indexOf(NEWLINE, at);
    const to = end < 0 ? chunk.length : end;
    this.line += chunk.toString('latin1', at, to);
    if (this.line.length > LINE_BYTES_MAX) this.end(new Error('an answer is no line of memcached'));
    else if (end >= 0) {
      const line = this.line.replace(/\r$/, '');
      this.line = '';
      this.answered(line);
    }
    return to + 1;
  }

  private readBody(body: Buffer, chunk: Buffer, at: number): number {
    const count = chunk.copy(body, this.bodyBytes, at);
    this.bodyBytes += count;
    if (this.bodyBytes < body.length) return at + count;
    const [head] = this.waiting;
    if (!body.subarray(-2).equals(END_OF_LINE))
      this.end(new Error('a value has not the length it should have'));
    else if (head !== undefined) head.value = new Uint8Array(body.subarray(0, -2));
    this.body = undefined;
    return at + count;
  }

  private answered(line: string): void {
    const [head] = this.waiting;
    if (head === undefined) return this.end(new Error(`an answer to nothing: ${line.slice(0, 80)}`));
    if (head.key !== undefined && line.startsWith('VALUE ')) return this.begin(line, head.key);
    if (head.key !== undefined && line === 'END') return this.finish().resolve(head.value);
    if (head.key === undefined && /^(STORED|NOT_STORED|EXISTS)$/.test(line)) {
      return this.finish().resolve(undefined);
    }
    // The server is fine, and has read the whole request.
    if (line.startsWith('SERVER_ERROR')) return this.finish().reject(new Error(line.slice(0, 200)));
    this.end(new Error(`not understood: ${line.slice(0, 80)}`));
  }

  private begin(line: string, asked: string): void {
    const [, key, , length] = line.split(' ');
    const bytes = Number(length);
    if (key !== asked || !(bytes >= 0 && bytes <= VALUE_BYTES_MAX)) {
      this.end(new Error('an answer to something else'));
      return;
    }
    this.body = Buffer.allocUnsafeSlow(bytes + END_OF_LINE.length);
    this.bodyBytes = 0;
  }

  private finish(): Waiting {
    const head = this.waiting.shift();
    if (head === undefined) throw new Error('nothing waits');
    return head;
  }

  private end(cause: Error): void {
    if (this.ended !== undefined) return;
    this.ended = cause;
    clearTimeout(this.timer);
    this.socket.destroy();
    this.options.onEnd(cause);
    for (const { reject } of this.waiting.splice(0)) reject(cause);
  }
}

function connect({ address, tls: secured }: ConnectionOptions): net.Socket {
  if (address.includes('/')) return net.connect({ path: address });
  const { host, port } = hostAndPort(address);
  return secured === undefined
    ? net.connect({ host, port })
    : tls.connect({ servername: net.isIP(host) === 0 ? host : '', ...secured, host, port });
}

/** Of `host`, `host:port` or `[address]:port`. */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(address);
  if (match === null) return { host: address, port: DEFAULT_PORT };
  return { host: match[1] ?? match[2] ?? '', port: match[3] === undefined ? DEFAULT_PORT : Number(match[3]) };
}

/** Seconds, at least one; 0 = for ever. */
export function expiration(ttlMs: number, nowMs: number): number {
  if (ttlMs <= 0) return 0;
  const seconds = Math.max(1, Math.round(ttlMs / 1000));
  return seconds > RELATIVE_SECONDS_MAX ? Math.floor(nowMs / 1000) + seconds : seconds;
}
