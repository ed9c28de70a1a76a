// What an image is made of, and what config/compose.yaml names, is there.
import { existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { checkConfig } from '../../src/app/check.ts';
import { rootBlock } from '../../src/app/config.ts';
import { vultureOptions } from '../../cmd/tempo-vulture/options.ts';
import { loadConfig } from '../../src/config/load.ts';

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[];
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const read = (path: string): string => readFileSync(path, 'utf8');
const yamlOf = <T>(path: string): T => parse(read(path)) as T;
const compose = yamlOf<Compose>('config/compose.yaml');

t.test('compose names what exists', (t) => {
  for (const [name, { image, build, volumes = [], ports = [], depends_on = [] }] of Object.entries(
    compose.services,
  )) {
    if (build === undefined)
      t.match(image, /^[a-z.]+\/[\w/-]+:v?\d+\.\d+\.\d+$/, `${name} has an exact version`);
    else t.ok(existsSync(posix.join('config', build, 'Dockerfile')), `${name} is built from here`);
    for (const volume of volumes) {
      const [source = '', target] = volume.split(':');
      t.match(target, /^\//, volume);
      if (source.startsWith('.')) t.ok(existsSync(posix.join('config', source)), `${name}: ${source}`);
      else t.ok(source in compose.volumes, `${name}: volume ${source}`);
    }
    for (const port of ports)
      t.match(port, /^127\.0\.0\.1:(\d+):\1$/, `${name} is offered to this machine only`);
    for (const other of depends_on) t.ok(other in compose.services, `${name} depends on ${other}`);
  }
  t.end();
});

t.test('those that are ours start with it', (t) => {
  const { tempo, vulture } = compose.services;
  t.same(tempo?.command, ['-target=all', '-config.file=/conf/tempo.yaml', '-config.expand-env=true']);
  const mounted = tempo?.volumes?.find((volume) => volume.includes(':/conf/tempo.yaml')) ?? '';
  const name = posix.join('config', mounted.split(':')[0] ?? '');
  const { config, warnings } = loadConfig(rootBlock, {
    file: { name, text: read(name) },
    env: {},
    flags: [],
  });
  t.same(warnings, []);
  t.same(checkConfig(config).problems, []);
  t.equal(config.storage.trace.wal.path, '/var/tempo/wal', 'below the volume');
  t.equal(config.storage.trace.local.path, '/var/tempo/blocks');

  const options = vultureOptions(vulture?.command ?? []);
  t.equal(options?.queryUrl, `http://tempo:${config.server.httpListenPort}`);
  const { grpc } = config.distributor.receivers.otlp?.protocols ?? {};
  t.equal(options?.pushUrl, `http://tempo:${grpc?.endpoint.split(':')[1]}`);
  t.match(read('Dockerfile'), vulture?.entrypoint?.[0]?.slice(1));
  t.end();
});

t.test('the others look where we are', (t) => {
  type Scrapes = { scrape_configs: { static_configs: { targets: string[] }[] }[] };
  type Sources = { datasources: { uid: string; type: string; url: string }[] };
  type Collector = { exporters: { otlp: { endpoint: string } } };
  const { scrape_configs } = yamlOf<Scrapes>('config/compose/prometheus.yaml');
  const targets = scrape_configs.flatMap((job) => job.static_configs.flatMap((group) => group.targets));
  t.same(targets, ['tempo:3200', 'vulture:3201']);
  const { datasources } = yamlOf<Sources>('config/compose/grafana-data-sources.yaml');
  t.match(datasources, [
    { type: 'tempo', url: 'http://tempo:3200' },
    { type: 'prometheus', url: 'http://prometheus:9090' },
  ]);
  const { exporters } = yamlOf<Collector>('config/compose/collector.yaml');
  t.equal(exporters.otlp.endpoint, 'tempo:4317');
  t.end();
});

t.test('what the Dockerfile copies is in its context', (t) => {
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'));
  const copies = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)];
  const sources = copies.flatMap((match) => (match[1] ?? '').split(' '));
  t.ok(sources.length >= 6);
  for (const source of sources) {
    t.ok(existsSync(source), source);
    t.ok(allowed.includes(`!${source.split('/')[0]}`), `${source} is not ignored`);
  }
  t.end();
});
