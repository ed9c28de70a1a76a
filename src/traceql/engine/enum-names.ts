// Statuses and kinds, which sources hold as the numbers of OTLP, as words of the language; a number without a
// name is one too in answers.
import type { KindName, StatusName } from '../ast.ts';

const STATUSES: readonly StatusName[] = ['unset', 'ok', 'error'];
const KINDS: readonly KindName[] = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];

export function statusName(number: number): StatusName {
  return STATUSES[number] ?? `status(${number})`;
}

export function kindName(number: number): KindName {
  return KINDS[number] ?? `kind(${number})`;
}

export function statusNumber(name: StatusName): number {
  return numberOf(STATUSES, name);
}

export function kindNumber(name: KindName): number {
  return numberOf(KINDS, name);
}

function numberOf(names: readonly string[], name: string): number {
  const index = names.indexOf(name);
  return index >= 0 ? index : Number(name.slice(name.indexOf('(') + 1, -1));
}
