// Gossip over TCP, as dskit's transport has it: a connection for each packet (1, own address, payload, MD5 of
// the payload) and one for each exchange of states (2, then a stream of memberlist).
import { createHash } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { ConnectionOptions, TlsOptions } from 'node:tls';
import { ByteLedger } from '../../lib/byte-ledger.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';
import { splitHostPort } from './address.ts';
import { encodeRefusal } from './messages.ts';
import { TruncatedError } from './msgpack.ts';
import type { TransportMetrics } from './transport-metrics.ts';
import type { Receiver, Transport } from './transport.ts';

const PACKET = 1;
const STREAM = 2;
const DIGEST_BYTES = 16;
/** Messages of the largest size that may be coming in at once, over all connections. */
const LARGEST_AT_ONCE = 4;
const HANDSHAKE_MS_MIN = 1000;
/** Packets that wait until others are sent: one that came may ask for very many answers. */
const WAITING_MAX = 1024;

export interface TransportTls {
  readonly server: TlsOptions;
  readonly client: ConnectionOptions;
}

export interface TcpTransportOptions {
  /** '0.0.0.0' where there is none. */
  readonly bindAddresses: readonly string[];
  readonly bindPort: number;
  readonly dialTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly streamTimeoutMs: number;
  /** Packets that are sent at once; others wait so long, and then are dropped. */
  readonly writesMax: number;
  readonly writerWaitMs: number;
  readonly messageBytesMax: number;
  readonly connectionsMax: number;
  /** undefined = plain text. */
  readonly tls: TransportTls | undefined;
  readonly logger: Logger;
  readonly metrics: TransportMetrics;
}

export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Below those of TLS, which there are once the handshake is over. */
  readonly #raw = new Set<Socket>();
  readonly #waiting: (() => void)[] = [];
  readonly #incoming: ByteLedger;
  #writes = 0;
  #ownAddress = Buffer.alloc(0);
  #isClosed = false;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
    this.#incoming = new ByteLedger('gossip messages', options.messageBytesMax * LARGEST_AT_ONCE);
  }

  /** The port that it listens on, once it does. */
  get port(): number {
    const address = this.#servers[0]?.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Rejects with TempoError when a port cannot be had. @param ownAddress host:port that others are told. */
  async listen(receiver: Receiver, ownAddress: (port: number) => string): Promise<void> {
    const { bindAddresses, bindPort, connectionsMax, tls, streamTimeoutMs, writeTimeoutMs } = this.#options;
    const handshakeTimeout = Math.max(streamTimeoutMs, writeTimeoutMs, HANDSHAKE_MS_MIN);
    const secure = tls === undefined ? undefined : await import('node:tls');
    for (const host of bindAddresses) {
      const accept = (socket: Socket): void => this.#accept(socket, receiver);
      const server =
        secure === undefined || tls === undefined
          ? createServer({ allowHalfOpen: true }, accept)
          : secure.createServer({ ...tls.server, handshakeTimeout, allowHalfOpen: true }, accept);
      if (secure !== undefined) server.on('connection', (socket: Socket) => this.#holdRaw(socket));
      server.maxConnections = connectionsMax;
      server.on('drop', () => this.#refused('gossip connection is one too many and is closed'));
      server.on('tlsClientError', (err: Error, socket: Socket) => {
        if (this.#isClosed) return void socket.destroy();
        const from = socket.remoteAddress;
        this.#refused('gossip connection without TLS, or without a certificate that is known', { from, err });
        // Of a handshake that took too long nothing more than this is said.
        socket.destroy();
      });
      this.#servers.push(server);
      const port = bindPort === 0 && this.port !== 0 ? this.port : bindPort;
      await new Promise<void>((resolve, reject) => {
        server.once('error', (err) => reject(cannotListen(host, port, err)));
        server.listen({ host, port }, resolve);
      });
    }
    this.#ownAddress = Buffer.from(ownAddress(this.port));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
    );
    for (const socket of [...this.#sockets, ...this.#raw]) socket.destroy();
    await Promise.all(closed);
  }

  /** Resolves when no packet is under way any more, or after that long. */
  async drained(timeoutMs: number): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while ((this.#writes > 0 || this.#waiting.length > 0) && performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  send(to: string, packet: Uint8Array, failed?: () => void): void {
    const { metrics, writesMax, writerWaitMs, messageBytesMax } = this.#options;
    if (this.#isClosed) return;
    if (packet.length > messageBytesMax) {
      metrics.packetsDropped.inc();
      return this.#options.logger.warn('gossip packet is larger than allowed and is not sent', {
        bytes: packet.length,
      });
    }
    const write = (): void => void this.#write(to, packet, failed);
    if (this.#writes < writesMax) return write();
    if (this.#waiting.length >= WAITING_MAX) return metrics.packetsDropped.inc();
    const late = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(begin), 1);
      metrics.packetsDropped.inc();
    }, writerWaitMs).unref();
    const begin = (): void => {
      clearTimeout(late);
      write();
    };
    this.#waiting.push(begin);
  }

  async exchange<T>(to: string, request: Uint8Array, read: (answer: Uint8Array) => T): Promise<T> {
    const { metrics, streamTimeoutMs } = this.#options;
    metrics.outgoingStreams.inc();
    try {
      const socket = await this.#dial(to, streamTimeoutMs);
      socket.setTimeout(streamTimeoutMs, () => socket.destroy(new Error(`${to} did not answer in time`)));
      socket.write(Buffer.concat([Uint8Array.of(STREAM), request]));
      try {
        return await this.#readUntil(socket, read);
      } finally {
        socket.destroy();
      }
    } catch (err) {
      metrics.outgoingStreamErrors.inc();
      throw err;
    }
  }

  async #write(to: string, packet: Uint8Array, failed: (() => void) | undefined): Promise<void> {
    const { dialTimeoutMs, writeTimeoutMs, metrics, logger } = this.#options;
    this.#writes++;
    metrics.packetsSent.inc();
    metrics.packetsSentBytes.inc(packet.length);
    try {
      const socket = await this.#dial(to, dialTimeoutMs);
      if (writeTimeoutMs > 0)
        socket.setTimeout(writeTimeoutMs, () => socket.destroy(new Error('write took too long')));
      const head = Buffer.from([PACKET, this.#ownAddress.length]);
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('close', () => reject(new Error('connection was closed')));
        socket.end(Buffer.concat([head, this.#ownAddress, packet, digestOf(packet)]), resolve);
        socket.resume();
      });
    } catch (err) {
      metrics.packetsSentErrors.inc();
      logger.debug('gossip packet could not be sent', { to, err });
      failed?.();
    } finally {
      this.#writes--;
      this.#waiting.shift()?.();
    }
  }

  async #dial(to: string, timeoutMs: number): Promise<Socket> {
    const { tls } = this.#options;
    const { host, port } = splitHostPort(to, 0);
    const secure = tls === undefined ? undefined : await import('node:tls');
    const socket =
      secure === undefined ? connect({ host, port }) : secure.connect({ host, port, ...tls?.client });
    this.#hold(socket);
    const late =
      timeoutMs > 0
        ? setTimeout(() => socket.destroy(new Error(`no connection to ${to} in time`)), timeoutMs)
        : undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once(secure === undefined ? 'connect' : 'secureConnect', resolve);
        socket.once('error', reject);
        socket.once('close', () => reject(new Error(`connection to ${to} was closed`)));
      });
    } finally {
      clearTimeout(late);
    }
    return socket;
  }

  #hold(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.once('close', () => this.#sockets.delete(socket));
    // Told to who waits for the socket; without a listener it would end the process.
    socket.on('error', (err) => this.#options.logger.debug('gossip connection failed', { err }));
  }

  #holdRaw(socket: Socket): void {
    this.#raw.add(socket);
    socket.once('close', () => this.#raw.delete(socket));
  }

  #refused(msg: string, fields: Parameters<Logger['warn']>[1] = {}): void {
    this.#options.metrics.connectionsRefused.inc();
    this.#options.logger.warn(msg, fields);
  }

  #accept(socket: Socket, receiver: Receiver): void {
    const { streamTimeoutMs, writeTimeoutMs } = this.#options;
    this.#hold(socket);
    const limitMs = Math.max(streamTimeoutMs, writeTimeoutMs);
    socket.setTimeout(limitMs, () => socket.destroy());
    // However slowly it goes on, it ends.
    const late = setTimeout(() => socket.destroy(), limitMs * 5).unref();
    const chunks: Buffer[] = [];
    let bytes = 0;
    let held = 0;
    socket.once('close', () => {
      clearTimeout(late);
      this.#incoming.drop(held);
    });
    let tried = 0;
    const from = `${socket.remoteAddress}:${socket.remotePort}`;
    const take = (isEnd: boolean): void => {
      const [first] = chunks;
      if (first === undefined) return;
      if (first[0] === PACKET) {
        if (isEnd) this.#takePacket(Buffer.concat(chunks), from, receiver);
      } else if (first[0] !== STREAM) {
        this.#refused('gossip connection begins with something unknown', { type: first[0], from });
        socket.destroy();
      } else if (isEnd || bytes >= tried * 1.25) {
        tried = bytes;
        this.#takeStream(socket, Buffer.concat(chunks).subarray(1), from, receiver);
      }
    };
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > this.#options.messageBytesMax) {
        this.#refused('gossip message is larger than allowed and is dropped', { from, bytes });
        socket.destroy();
        return;
      }
      try {
        this.#incoming.hold(chunk.length);
      } catch (err) {
        this.#refused('gossip message is dropped', { from, err });
        socket.destroy();
        return;
      }
      held += chunk.length;
      chunks.push(chunk);
      take(false);
    });
    socket.once('end', () => {
      take(true);
      socket.end();
    });
  }

  #takePacket(bytes: Buffer, from: string, receiver: Receiver): void {
    const { metrics, logger } = this.#options;
    metrics.packetsReceived.inc();
    const start = 2 + (bytes[1] ?? 0);
    const end = bytes.length - DIGEST_BYTES;
    const packet = bytes.subarray(start, Math.max(start, end));
    if (end < start || !digestOf(packet).equals(bytes.subarray(end))) {
      metrics.packetsReceivedErrors.inc();
      return logger.warn('gossip packet is damaged and is dropped', { from, bytes: bytes.length });
    }
    metrics.packetsReceivedBytes.inc(packet.length);
    receiver.packet(packet, bytes.toString('utf8', 2, start));
  }

  #takeStream(socket: Socket, request: Uint8Array, from: string, receiver: Receiver): void {
    const { metrics, logger } = this.#options;
    if (socket.writableEnded) return;
    try {
      const answer = receiver.request(request);
      metrics.incomingStreams.inc();
      socket.end(answer);
    } catch (err) {
      if (err instanceof TruncatedError) return;
      this.#options.metrics.connectionsRefused.inc();
      logger.warn('gossip stream is refused', { from, err });
      socket.end(encodeRefusal(err instanceof Error ? err.message : String(err)));
    }
  }

  #readUntil<T>(socket: Socket, read: (bytes: Uint8Array) => T): Promise<T> {
    const { messageBytesMax } = this.#options;
    const chunks: Buffer[] = [];
    let bytes = 0;
    let tried = 0;
    return new Promise((resolve, reject) => {
      const attempt = (isEnd: boolean): void => {
        if (!isEnd && bytes < tried * 1.25) return;
        tried = bytes;
        try {
          resolve(read(Buffer.concat(chunks)));
        } catch (err) {
          if (isEnd || !(err instanceof TruncatedError)) reject(err);
        }
      };
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > messageBytesMax) {
          reject(new TempoError('too_large', `gossip state has more than ${messageBytesMax} bytes`));
          return;
        }
        attempt(false);
      });
      socket.once('end', () => attempt(true));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('connection was closed before the answer')));
    });
  }
}

function digestOf(packet: Uint8Array): Buffer {
  return createHash('md5').update(packet).digest();
}

function cannotListen(host: string, port: number, cause: Error): TempoError {
  const code = 'code' in cause ? String(cause.code) : cause.message;
  const reason = code === 'EADDRINUSE' ? 'address already in use' : code;
  return new TempoError('unavailable', `cannot listen on ${host}:${port} for memberlist: ${reason}`, cause);
}
