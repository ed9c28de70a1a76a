// Forwarders with OTTL conditions: both programs send the same spans on, and neither starts with a condition
// that is not valid.
import { mkdirSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { OtlpGrpcReceiver } from '../../src/receivers/otlp-grpc.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { CONDITIONS, conditionSpans } from '../support/ottl-conditions.ts';
import { decodeTraces, encodeTraces } from '../support/otlp.ts';
import { configText, freePorts, startTempo } from '../support/server.ts';
import { until } from './programs.ts';
import { testFolder } from '../support/test-folder.ts';

const program = process.env['TEMPO_BIN'];
if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');

t.setTimeout(120_000);

async function aSink(t: Test): Promise<{ readonly address: string; readonly names: Set<string> }> {
  const names = new Set<string>();
  const config = { endpoint: '127.0.0.1:0', maxRecvMsgSizeMib: 0, maxConcurrentStreams: 0 };
  const consume = async ({ body }: { readonly body: Uint8Array }) => {
    for (const { name } of decodeTraces(body)) names.add(name);
    return { rejectedSpans: 0, message: '' };
  };
  const receiver = new OtlpGrpcReceiver(config, { consume }, silentLogger);
  const { port } = await receiver.start();
  t.teardown(() => receiver.stop(0));
  return { address: `127.0.0.1:${port}`, names };
}

async function start(
  folder: string,
  which: string | undefined,
  conditions: readonly (readonly [string, string])[],
) {
  const ports = await freePorts();
  const forwarders = conditions.map(([condition, address], i) => ({
    name: `f${i}`,
    backend: 'otlpgrpc',
    otlpgrpc: { endpoints: [address], tls: { insecure: true } },
    filter: { traces: { span: [condition] } },
  }));
  const names = forwarders.map(({ name }) => name);
  const usual = configText(folder, ports).replace(
    'distributor:\n',
    `distributor:\n  forwarders: ${JSON.stringify(forwarders)}\n`,
  );
  const gossip = (await freePorts()).http;
  const configFile = `${folder}/tempo.yaml`;
  mkdirSync(folder, { recursive: true });
  const more = `memberlist: { bind_addr: [127.0.0.1], bind_port: ${gossip} }\n`;
  writeFileSync(
    configFile,
    `${usual}${more}overrides: { defaults: { forwarders: ${JSON.stringify(names)} } }\n`,
  );
  return startTempo(folder, { ports, configFile, ...(which === undefined ? {} : { program: which }) });
}

for (const [name, which] of [
  ['ours', undefined],
  ['Tempo', program],
] as const) {
  t.test(name, async (t) => {
    const folder = testFolder(t);
    const sinks = await Promise.all(CONDITIONS.map(() => aSink(t)));
    const conditions = CONDITIONS.map(({ condition }, i) => [condition, sinks[i]!.address] as const);
    const tempo = await start(`${folder}/a`, which, conditions);
    t.teardown(() => tempo.kill());
    const all = conditionSpans().map((span) => span.name);
    const want = CONDITIONS.map(({ out }) => all.filter((one) => !out.split(' ').includes(one)));
    const sent = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: Buffer.from(encodeTraces(conditionSpans())),
    });
    t.equal(sent.status, 200);
    const isComplete = async (): Promise<boolean> =>
      sinks.every(({ names }, i) => names.size >= want[i]!.length);
    await until('what is forwarded', isComplete).catch(() => {});
    sinks.forEach(({ names }, i) =>
      t.same([...names].sort(), [...want[i]!].sort(), CONDITIONS[i]!.condition),
    );
    const refused = start(`${folder}/b`, which, [['name = "x"', '127.0.0.1:1']]);
    await t.rejects(refused, { message: /unable to parse OTTL condition .*1:6: unexpected token / });
  });
}
