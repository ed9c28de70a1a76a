// Answers whose reader has stopped: they hold memory that other queries wait for.
import type { FastifyReply } from 'fastify';

/** In the time after which an answer is given up. */
const LOOKS = 10;

/** Ends the connection of an answer of which nothing more could be sent for that long. */
export function endWhenStalled(answer: FastifyReply['raw'], stallMs: number): void {
  // Its client has left already, which is told once.
  if (answer.destroyed) return;
  let sent = answer.socket?.bytesWritten;
  let idleLooks = 0;
  const timer = setInterval(() => {
    const now = answer.socket?.bytesWritten;
    idleLooks = now === sent ? idleLooks + 1 : 0;
    sent = now;
    if (idleLooks >= LOOKS) answer.destroy();
  }, stallMs / LOOKS);
  answer.once('close', () => clearInterval(timer));
}
