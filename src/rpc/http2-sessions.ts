// HTTP/2 sessions of a listener: their settings, how many there may be, what becomes of idle, old, dead and
// unruly ones, and a graceful stop. Knows no routes.
import http2, {
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2';
import type { Logger } from '../telemetry/log.ts';
import { OpenSockets } from './open-sockets.ts';

/** As gRPC servers have it. Times of a timer's longest and more mean never. */
interface SessionKeepalive {
  /** Sessions on which nothing moves are closed after that time. */
  readonly idleMsMax?: number | undefined;
  /** Sessions are closed after about that time, whatever they do. */
  readonly ageMsMax?: number | undefined;
  /** Time for the open streams of a session that is too old. */
  readonly ageGraceMs?: number | undefined;
  /** Peers are asked that often whether they are there. */
  readonly pingMs?: number | undefined;
  /** How long they may take to answer. */
  readonly pingTimeoutMs?: number | undefined;
  /** Peers that ask more often are sent away. */
  readonly minPingIntervalMs?: number | undefined;
}

export interface SessionOptions {
  readonly logger: Logger;
  readonly sessionsMax?: number | undefined;
  readonly streamsPerSessionMax?: number | undefined;
  readonly keepalive?: SessionKeepalive | undefined;
  /** How long a peer may take to begin with its settings. */
  readonly handshakeMsMax?: number | undefined;
}

const SESSIONS_MAX = 4096;
const STREAMS_PER_SESSION_MAX = 256;
const HANDSHAKE_MS_MAX = 30_000;
/** For the peer to end a connection whose session has ended. */
const LINGER_MS = 1000;
const SESSION_MEMORY_MIB = 128;
/** Large windows: a whole batch fits without waiting for WINDOW_UPDATE. */
const STREAM_WINDOW_BYTES = 4 << 20;
const SESSION_WINDOW_BYTES = 16 << 20;
const FRAME_BYTES_MAX = 1 << 20;
/** Of the headers of one request. As Go's servers; a single field is limited to 64 KiB by nghttp2. */
const HEADER_BYTES_MAX = 1 << 20;

const TIMER_MS_MAX = 0x7fffffff;
const PING_INTERVAL_MS_MIN = 10_000;
const PING_TIMEOUT_MS = 20_000;
/** So many pings may come too early, as in grpc-go. */
const EARLY_PINGS_MAX = 2;
/** What a session sends for pings and settings alone, between two pings. */
const QUIET_BYTES = 128;
/** SETTINGS frames of a peer: one is usual. */
const SETTINGS_MAX = 100;
const WARNING_PAUSE_MS = 60_000;
const TOO_MANY_PINGS = Buffer.from('too_many_pings');
/** Sessions of one age do not all end at once. */
const AGE_SPREAD = 0.1;

export function sessionSettings(options: SessionOptions): ServerOptions {
  return {
    maxSessionMemory: SESSION_MEMORY_MIB,
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxFrameSize: FRAME_BYTES_MAX,
      maxHeaderListSize: HEADER_BYTES_MAX,
      maxConcurrentStreams: options.streamsPerSessionMax ?? STREAMS_PER_SESSION_MAX,
      enablePush: false,
    },
  };
}

export class Http2Sessions {
  readonly #options: SessionOptions;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets: OpenSockets;
  #nextWarningMs = 0;
  #isClosing = false;

  constructor(server: Http2Server | Http2SecureServer, options: SessionOptions) {
    this.#options = options;
    this.#sockets = new OpenSockets(server, { lingerMs: LINGER_MS });
    server.on('session', (session: ServerHttp2Session) => this.#admit(session));
    server.on('sessionError', (err: Error) => this.#tell(err));
  }

  /** Another protocol is a mistake of the operator's, and is told; all else is what peers do. */
  #tell(err: Error): void {
    const { logger } = this.#options;
    if (!err.message.includes('bad client magic')) return logger.debug('http2 session failed', { err });
    if (performance.now() < this.#nextWarningMs) return;
    this.#nextWarningMs = performance.now() + WARNING_PAUSE_MS;
    logger.warn('a client does not speak HTTP/2 on a port of gRPC', {
      hint: 'OTLP over HTTP has a port of its own (4318 by default)',
    });
  }

  /** To be awaited before the server closes. */
  letIn(): Promise<void> {
    return this.#sockets.letIn();
  }

  /** Tells peers to go away once their open streams are done. */
  close(): void {
    this.#isClosing = true;
    this.#sockets.destroySilent();
    for (const session of this.#sessions) session.close();
  }

  /** Cuts what is left. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
    this.#sockets.destroyAll();
  }

  #admit(session: ServerHttp2Session): void {
    if (this.#sessions.size >= (this.#options.sessionsMax ?? SESSIONS_MAX)) {
      sendAway(session);
      return;
    }
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    this.#sessions.add(session);
    const { keepalive = {} } = this.#options;
    refuseFloods(session, keepalive.minPingIntervalMs ?? PING_INTERVAL_MS_MIN);
    // Closing waits for open streams, which have limits of their own.
    if (isTimer(keepalive.idleMsMax)) session.setTimeout(keepalive.idleMsMax, () => session.close());
    const silent = setTimeout(() => session.destroy(), this.#options.handshakeMsMax ?? HANDSHAKE_MS_MAX);
    session.once('remoteSettings', () => clearTimeout(silent));
    const timers = [silent.unref(), ...endOfAge(session, keepalive), ...askWhetherThere(session, keepalive)];
    session.once('close', () => {
      this.#sessions.delete(session);
      timers.forEach(clearTimeout);
    });
    if (this.#isClosing) session.close();
  }
}

function isTimer(ms: number | undefined): ms is number {
  return ms !== undefined && ms > 0 && ms < TIMER_MS_MAX;
}

function sendAway(session: ServerHttp2Session, reason?: Buffer): void {
  session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, reason);
  session.destroy();
}

function endOfAge(session: ServerHttp2Session, keepalive: SessionKeepalive): readonly NodeJS.Timeout[] {
  const { ageMsMax, ageGraceMs } = keepalive;
  if (!isTimer(ageMsMax)) return [];
  const spread = 1 + AGE_SPREAD * (2 * Math.random() - 1);
  const timer = setTimeout(
    () => {
      session.close();
      if (!isTimer(ageGraceMs)) return;
      const late = setTimeout(() => session.destroy(), ageGraceMs).unref();
      session.once('close', () => clearTimeout(late));
    },
    Math.min(ageMsMax * spread, TIMER_MS_MAX),
  );
  return [timer.unref()];
}

function askWhetherThere(
  session: ServerHttp2Session,
  keepalive: SessionKeepalive,
): readonly NodeJS.Timeout[] {
  const { pingMs, pingTimeoutMs } = keepalive;
  if (!isTimer(pingMs)) return [];
  const ask = (): void => {
    if (session.destroyed) return;
    const late = setTimeout(() => session.destroy(), pingTimeoutMs ?? PING_TIMEOUT_MS).unref();
    // Answers an error, too, when the session ends meanwhile.
    session.ping(() => clearTimeout(late));
  };
  return [setInterval(ask, pingMs).unref()];
}

/** Sends peers away that cost work without asking for any. What nghttp2 counts itself is left to it. */
function refuseFloods(session: ServerHttp2Session, minPingIntervalMs: number): void {
  let lastPingMs = -Infinity;
  let sentBytes = 0;
  let early = 0;
  let hasCalled = false;
  session.on('stream', () => {
    hasCalled = true;
  });
  session.on('ping', () => {
    const nowMs = performance.now();
    const sent = session.socket.bytesWritten;
    // Peers measure the line with pings while they are being sent something, be it a short answer.
    const isBusy = hasCalled || sent - sentBytes > QUIET_BYTES;
    if (nowMs - lastPingMs >= minPingIntervalMs || isBusy) early = 0;
    else early++;
    hasCalled = false;
    lastPingMs = nowMs;
    sentBytes = sent;
    if (early > EARLY_PINGS_MAX) sendAway(session, TOO_MANY_PINGS);
  });
  let settings = 0;
  session.on('remoteSettings', () => {
    if (++settings > SETTINGS_MAX) sendAway(session);
  });
}
