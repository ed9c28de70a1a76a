// Puts a decision before the listeners that a server has for its connections.
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

/**
 * Takes the listeners of an event off and calls `decide` instead, which passes the connection on or does
 * not. Listeners that are added later are not affected.
 */
export function interpose<S extends Socket>(
  server: EventEmitter,
  event: 'connection' | 'secureConnection',
  decide: (socket: S, pass: () => void) => void,
): void {
  const takers = server.listeners(event);
  server.removeAllListeners(event);
  server.on(event, (socket: S) => {
    decide(socket, () => {
      for (const take of takers) take.call(server, socket);
    });
  });
}
