// Which part of the data a sub-request is about, as queriers are asked: row groups of one block, or what is
// recent where no block is named.
import type { UrlParams } from '../../api/params.ts';
import type { QueryPart } from '../../contracts/query.ts';
import { TempoError } from '../../lib/errors.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function parseQueryPart(params: UrlParams): QueryPart {
  const blockId = params.get('blockID') ?? '';
  if (blockId === '') return { kind: 'recent' };
  if (!UUID.test(blockId)) throw invalid(`invalid blockID: ${JSON.stringify(blockId)} is no UUID`);
  const from = count(params, 'startPage') ?? 0;
  const pages = count(params, 'pagesToSearch') ?? 0;
  if (pages === 0) throw invalid('invalid pagesToSearch: must be a positive number');
  return { kind: 'block', blockId: blockId.toLowerCase(), rowGroups: [from, from + pages] };
}

function count(params: UrlParams, name: string): number | undefined {
  const text = params.get(name) ?? '';
  if (text === '') return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw invalid(`invalid ${name}: ${JSON.stringify(text)} is no number of row groups`);
}

function invalid(message: string): TempoError {
  return new TempoError('invalid_argument', message);
}
