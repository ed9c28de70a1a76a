// The connections of a listener, so that its stop waits for none of them: servers of Node know neither those
// that have not begun, nor those whose HTTP/2 session has ended while the peer keeps its side open.
import type { Server, Socket } from 'node:net';

export class OpenSockets {
  readonly #sockets = new Set<Socket>();
  readonly #lingerMs: number;

  /**
   * Call it before the server listens.
   * @param lingerMs how long a peer may keep a connection that is ended on our side.
   */
  constructor(server: Pick<Server, 'on'>, lingerMs = Infinity) {
    this.#lingerMs = lingerMs;
    server.on('connection', (socket: Socket) => this.#add(socket));
    // Those of TLS are other objects, on top.
    server.on('secureConnection' as 'connection', (socket: Socket) => this.#add(socket));
  }

  /** Cuts those on which nothing has come yet. */
  destroySilent(): void {
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
  }

  destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
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
