// Answers whose reader has stopped: they hold memory that other queries wait for.
import type { FastifyReply } from 'fastify';

/** Ends the connection of an answer of which nothing more could be sent for that long. */
export function endWhenStalled(answer: FastifyReply['raw'], stallMs: number): void {
  let sent = answer.socket?.bytesWritten;
  const timer = setInterval(() => {
    const now = answer.socket?.bytesWritten;
    if (now === sent) answer.destroy();
    sent = now;
  }, stallMs);
  answer.once('close', () => clearInterval(timer));
}
