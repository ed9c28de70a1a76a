// Blocks with pages in Snappy: real Tempo answers on ours as we do.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { askSearches, askTraces, countFound, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { blockMetas, copyBlocks, push, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { SEARCHES } from './searches.ts';

const TIMEOUT_MS = 900_000;
const CONFIG = 'test/interop/tempo-2.10.yaml';

t.setTimeout(TIMEOUT_MS);
await t.test('blocks in Snappy', { timeout: TIMEOUT_MS }, async (t) => {
  const corpus = loadCorpus();
  const data = testFolder(t, { ours: {}, real: {} });
  const configFile = join(data, 'tempo.yaml');
  const text = readFileSync(CONFIG, 'utf8');
  writeFileSync(
    configFile,
    text.replace('block: { version', 'block: { parquet_compression: snappy, version'),
  );
  const ours = await startTempo(join(data, 'ours'), { configFile, args: ['-config.expand-env=true'] });
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  copyBlocks(ours.data, join(data, 'real'));
  const [block] = blockMetas(ours.data);
  const bytes = readFileSync(join(ours.data, 'blocks', 'single-tenant', block!.blockID, 'data.parquet'));
  const zstdFrame = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
  t.equal(bytes.includes(zstdFrame), false, 'no page is in zstd');
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  t.strictSame(differences(await askTraces(ours, corpus), await askTraces(real, corpus)), [], 'trace by id');
  const found = await askSearches(ours, corpus, SEARCHES);
  t.ok(countFound(found) > 0);
  t.strictSame(differences(found, await askSearches(real, corpus, SEARCHES)), [], 'searches');
  t.notMatch(ours.output() + real.output(), /level=error.*(parquet|snappy)/i);
});
