// The table of what the query API answers to bad questions, asked of our server.
import t from 'tap';
import { checkReadErrors } from '../support/read-errors.ts';

await t.test('bad questions are answered as the table says', { timeout: 100_000 }, (t) =>
  checkReadErrors(t, {}, false),
);
