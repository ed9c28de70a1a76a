// The table of what the query API answers to bad questions, asked of our server.
import t from 'tap';
import { httpExport } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { checkReadErrors } from '../support/read-errors.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

await t.test('bad questions are answered as the table says', { timeout: 100_000 }, (t) =>
  checkReadErrors(t, {}, false),
);

await t.test('a range matters to blocks of the backend, not to what an ingester holds', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const traceId = hexId(7, 16);
  const nowSec = Math.floor(Date.now() / 1000);
  const startUnixNano = BigInt(nowSec - 1200) * 1_000_000_000n;
  const span = { traceId, spanId: hexId(1, 8), startUnixNano, endUnixNano: startUnixNano + 1000n };
  t.equal((await httpExport(tempo, encodeTraces([aSpan(span)]))).status, 200);
  const ask = async (more: string): Promise<number> =>
    (await tempo.get(`/api/traces/${traceId}?start=${nowSec - 30}&end=${nowSec + 5}${more}`)).status;
  t.equal(await ask(''), 200);
  await flush(tempo);
  t.equal(await ask(''), 200, 'its block is there still');
  t.equal(await ask('&mode=blocks'), 404);
  t.equal((await tempo.get(`/api/traces/${traceId}?mode=blocks`)).status, 200);
});
