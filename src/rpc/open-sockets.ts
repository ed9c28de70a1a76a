// The connections of a listener, so that its stop waits for none of them: servers of Node know neither those
// that have not begun, nor those whose HTTP/2 session has ended while the peer keeps its side open.
import type { Server, Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

const BEGIN_MS = 1000;
/** For all who wait, of which each turn of the loop accepts one. */
const LET_IN_MS_MAX = 1000;
/** A turn that leaves next to no time to connect between its look at the listener and its end. */
const SHORT_TURN_MS = 0.1;
const SHORT_TURN_WAIT_MS = 250;

export interface OpenSocketsOptions {
  /** How long a peer may keep a connection that is ended on our side; undefined = for ever. */
  readonly lingerMs?: number | undefined;
  /** Whoever has just connected is about to ask: how long it is waited for at the stop. */
  readonly beginMs?: number | undefined;
}

export class OpenSockets {
  /** With the time when they came. */
  readonly #sockets = new Map<Socket, number>();
  readonly #lingerMs: number;
  readonly #beginMs: number;
  #count = 0;

  /** Call it before the server listens. */
  constructor(server: Pick<Server, 'on'>, options: OpenSocketsOptions = {}) {
    this.#lingerMs = options.lingerMs ?? Infinity;
    this.#beginMs = options.beginMs ?? BEGIN_MS;
    server.on('connection', (socket: Socket) => this.#add(socket));
    // Those of TLS are other objects, on top.
    server.on('secureConnection' as 'connection', (socket: Socket) => this.#add(socket));
  }

  /**
   * To be awaited before the server closes, which must follow in the same turn: whoever is connected then
   * and not accepted yet is cut off. So it waits for a turn that accepts nobody and does little else.
   */
  async letIn(): Promise<void> {
    const beginMs = performance.now();
    await nextTurn();
    for (;;) {
      const count = this.#count;
      const sinceMs = performance.now();
      await nextTurn();
      const nowMs = performance.now();
      if (nowMs - beginMs > LET_IN_MS_MAX) return;
      const isShort = nowMs - sinceMs < SHORT_TURN_MS || nowMs - beginMs > SHORT_TURN_WAIT_MS;
      if (this.#count === count && isShort) return;
    }
  }

  /** Cuts those on which nothing has come yet, the newest of them in a moment. */
  destroySilent(): void {
    const nowMs = performance.now();
    for (const [socket, sinceMs] of this.#sockets) {
      if (socket.bytesRead > 0) continue;
      const restMs = sinceMs + this.#beginMs - nowMs;
      if (restMs <= 0) socket.destroy();
      else setTimeout(() => socket.bytesRead === 0 && socket.destroy(), restMs).unref();
    }
  }

  destroyAll(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #add(socket: Socket): void {
    this.#count++;
    this.#sockets.set(socket, performance.now());
    let late: NodeJS.Timeout | undefined;
    socket.once('finish', () => {
      if (this.#lingerMs < Infinity) late = setTimeout(() => socket.destroy(), this.#lingerMs).unref();
    });
    socket.once('close', () => {
      clearTimeout(late);
      this.#sockets.delete(socket);
    });
  }
}
