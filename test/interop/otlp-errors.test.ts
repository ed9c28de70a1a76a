// Real Tempo's answers to the table of errors of ingestion; where ours differ, they differ on purpose.
import t from 'tap';
import { checkErrorTable, startForErrors } from '../support/otlp-errors.ts';

t.test('what is sent and what comes back', async (t) => {
  const program = process.env['TEMPO_BIN'];
  if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  await checkErrorTable(t, await startForErrors(t, program), true);
});
