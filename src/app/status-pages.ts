// The pages that tell about the process: /status and its parts, and what stands in for a cluster's pages when
// all modules run in one process.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { diffConfig, printConfig } from '../config/print.ts';
import { loadConfig } from '../config/load.ts';
import { runtimeConfigText } from '../overrides/pages.ts';
import type { Overrides } from '../overrides/overrides.ts';
import type { ServiceState } from './app.ts';
import { rootBlock, type TempoConfig } from './config.ts';
import { startOrder } from './graph.ts';
import { TEXT } from './http-listener.ts';
import type { Route } from './routes.ts';
import { textTable } from './text-table.ts';
import { versionText } from './version.ts';

export interface StatusOptions {
  readonly config: TempoConfig;
  readonly overrides: Overrides;
  readonly routes: () => readonly Route[];
  readonly stateOf: (module: string) => ServiceState;
}

const DOCUMENTATION = 'https://grafana.com/docs/tempo/latest/api_docs/';

interface Part {
  readonly text: string;
  /** What could not be shown; the status is then 500. */
  readonly error?: string;
}

type Mode = string | undefined;

export function registerStatusPages(app: FastifyInstance, options: StatusOptions): void {
  // The configuration does not change, and printing it takes tens of milliseconds.
  const printed = new Map<string, Part>();
  const config = async (mode: Mode): Promise<Part> => {
    const known = printed.get(mode ?? '');
    const part = known ?? configPart(options.config, mode);
    if (known === undefined && part.error === undefined) printed.set(mode ?? '', part);
    return part;
  };
  const parts: Readonly<Record<string, (mode: Mode) => Promise<Part>>> = {
    version: async () => ({ text: `GET /status/version\n${versionText()}` }),
    services: async () => ({ text: `GET /status/services\n${servicesText(options)}` }),
    endpoints: async () => ({ text: `GET /status/endpoints\n${endpointsText(options)}` }),
    runtime_config: async (mode) => ({ text: await runtimeConfigText(options.overrides, mode) }),
    config,
  };
  getOnly(app, '/status', async (request, reply) => {
    const all = Object.values(parts).map((part) => part(modeOf(request)));
    return sendParts(reply, await Promise.all(all));
  });
  for (const [name, part] of Object.entries(parts)) {
    getOnly(app, `/status/${name}`, async (request, reply) =>
      sendParts(reply, [await part(modeOf(request))]),
    );
  }
  app.all('/status/usage-stats', (_request, reply) => reply.type(TEXT).send('usage-stats is not enabled\n'));
}

function modeOf({ url }: FastifyRequest): Mode {
  return new URLSearchParams(url.split('?', 2)[1]).get('mode') ?? undefined;
}

/** Other methods are 405, as Tempo answers them. */
function getOnly(
  app: FastifyInstance,
  url: string,
  answer: (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>,
): void {
  app.all(url, async (request, reply) =>
    request.method === 'GET' ? answer(request, reply) : reply.code(405).send(),
  );
}

function sendParts(reply: FastifyReply, parts: readonly Part[]): FastifyReply {
  const errors = parts.flatMap(({ error }) => (error === undefined ? [] : `${error}\n`));
  return reply
    .code(errors.length === 0 ? 200 : 500)
    .type(TEXT)
    .send([...errors, ...parts.map(({ text }) => text)].join(''));
}

function servicesText({ config, stateOf }: StatusOptions): string {
  const columns = [
    { title: 'SERVICE NAME' },
    { title: 'STATUS', align: 'right' },
    { title: 'FAILURE CASE' },
  ] as const;
  const names = startOrder(config.target).toSorted();
  return textTable(
    columns,
    names.map((name) => [name, stateOf(name), '']),
  );
}

function endpointsText({ routes }: StatusOptions): string {
  const rows = routes().map(({ name, regex }) => [name, regex]);
  const table = textTable([{ title: 'NAME' }, { title: 'REGEX' }], rows);
  return `${table}\nAPI documentation: ${DOCUMENTATION}\n\n`;
}

function configPart(config: TempoConfig, mode: Mode): Part {
  const head = 'GET /status/config\n';
  const defaults = (): TempoConfig => loadConfig(rootBlock, {}).config;
  switch (mode ?? '') {
    case '':
      return { text: `${head}---\n${printConfig(rootBlock, config)}` };
    case 'defaults':
      return { text: `${head}---\n${printConfig(rootBlock, defaults())}` };
    case 'diff':
      return { text: `${head}---\n${diffConfig(rootBlock, config, defaults())}` };
    default:
      return { text: head, error: `unknown value for mode query parameter: ${mode}` };
  }
}
