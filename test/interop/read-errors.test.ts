// The table of what the query API answers to bad questions, asked of real Tempo: it says the same, but for
// what the table calls a deviation.
import t from 'tap';
import { checkReadErrors } from '../support/read-errors.ts';

const program = process.env['TEMPO_BIN'];
if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');

t.setTimeout(200_000);

await t.test('Tempo answers bad questions as the table says', { timeout: 200_000 }, (t) =>
  checkReadErrors(t, { program }, true),
);
