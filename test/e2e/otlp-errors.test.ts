// Ingestion's table of errors over HTTP and gRPC; `npm run interop` asks real Tempo the same.
import t from 'tap';
import { checkErrorTable, startForErrors } from '../support/otlp-errors.ts';

t.test('what is sent and what comes back', { timeout: 120_000 }, async (t) => {
  const tempo = await startForErrors(t);
  await checkErrorTable(t, tempo, false);
  t.equal(await tempo.stop(), 0);
});
