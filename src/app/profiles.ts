// CPU profiles and heap snapshots of the main thread, on demand, in the formats that Chrome's developer tools
// open. They cost time and show secrets: on the internal server only, and off by default.
import { Session } from 'node:inspector/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { getHeapSnapshot } from 'node:v8';
import type { FastifyInstance } from 'fastify';
import { TempoError } from '../lib/errors.ts';

const SECONDS_DEFAULT = 30;
const SECONDS_MAX = 300;

export function registerProfiles(app: FastifyInstance): void {
  let isBusy = false;
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isBusy) throw new TempoError('resource_exhausted', 'another profile is being taken');
    isBusy = true;
    try {
      return await work();
    } finally {
      isBusy = false;
    }
  };
  app.get('/debug/pprof/profile', async (request, reply) => {
    const seconds = secondsOf(request.query as { readonly seconds?: string });
    const left = new AbortController();
    reply.raw.once('close', () => left.abort());
    const profile = await alone(() => cpuProfile(seconds * 1000, left.signal));
    return reply.headers(download('tempo.cpuprofile')).send(JSON.stringify(profile));
  });
  app.get('/debug/pprof/heap', async (_request, reply) => {
    const snapshot = await alone(async () => getHeapSnapshot());
    return reply.headers(download('tempo.heapsnapshot')).send(snapshot);
  });
}

function secondsOf({ seconds: text }: { readonly seconds?: string }): number {
  const seconds = text === undefined ? SECONDS_DEFAULT : Number(text);
  if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
    throw new TempoError('invalid_argument', `seconds must be more than 0 and at most ${SECONDS_MAX}`);
  }
  return seconds;
}

async function cpuProfile(ms: number, signal: AbortSignal): Promise<unknown> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.start');
    await pause(ms, undefined, { signal }).catch(ignoreAbort);
    return (await session.post('Profiler.stop')).profile;
  } finally {
    session.disconnect();
  }
}

function ignoreAbort(): void {
  // The caller has left: the profile is stopped early and nobody reads it.
}

function download(name: string): Record<string, string> {
  return { 'content-type': 'application/json', 'content-disposition': `attachment; filename="${name}"` };
}
