#!/usr/bin/env node
// The tempo-vulture program: writes known traces to a running Tempo, reads them back for as long as it runs,
// and serves what it found missing as metrics.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UsageError, usageText } from '../../src/app/command-line.ts';
import { createLogger, type Logger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { VULTURE_FLAGS, vultureOptions, type VultureOptions } from './options.ts';
import { validate } from './validation.ts';
import { Vulture } from './vulture.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Serves the metrics and nothing else. @returns a function that stops. */
async function serveMetrics(options: VultureOptions, metrics: Metrics, logger: Logger): Promise<() => void> {
  const match = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(options.listenAddress);
  if (match === null) throw new Error(`-prometheus-listen-address: "${options.listenAddress}" has no port`);
  const host = match[1] ?? (match[2] === '' ? undefined : match[2]);
  const server = createServer((request, response) => {
    if (request.url?.split('?', 1)[0] !== options.metricsPath) {
      response.writeHead(404).end('404 page not found\n');
      return;
    }
    metrics.text().then(
      (text) => response.setHeader('content-type', metrics.registry.contentType).end(text),
      (err: unknown) => response.writeHead(500).end(String(err)),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(match[3]), host, resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  logger.info('metrics are served', { address, port, path: options.metricsPath });
  return () => {
    server.close();
    server.closeAllConnections();
  };
}

async function main(): Promise<number> {
  const options = vultureOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(usageText(VULTURE_FLAGS, 'tempo-vulture'));
    return 0;
  }
  const logger = createLogger({
    level: 'info',
    format: 'logfmt',
    write: (line) => void process.stdout.write(line),
  });
  const metrics = new Metrics();
  const accessToken = process.env['TEMPO_ACCESS_POLICY_TOKEN'];
  const vulture = new Vulture({ options, accessToken, logger, metrics });
  logger.info('starting tempo-vulture', { query_url: options.queryUrl, push_url: options.pushUrl });
  if (options.validation) return (await validate(vulture, options, logger)) ? 0 : EXIT_FAILED;
  const stopMetrics = await serveMetrics(options, metrics, logger);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort());
  await vulture.run(stop.signal);
  stopMetrics();
  logger.info('tempo-vulture stopped', { traces: vulture.written.count });
  return 0;
}

try {
  process.exit(await main());
} catch (err) {
  const message = err instanceof Error ? err.message : String(err);
  process.stderr.write(`tempo-vulture: ${message}\n`);
  process.exit(err instanceof UsageError ? EXIT_USAGE : EXIT_FAILED);
}
