// The file in which an instance keeps its tokens over a restart, as Tempo writes it: {"tokens":[1,2,3]}.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { TempoError } from '../lib/errors.ts';
import { sortedTokens } from './instance.ts';

/** undefined = there is none. Throws when it cannot be read. */
export function readTokensFile(path: string): Uint32Array | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return undefined;
    throw new TempoError('internal', `tokens file ${path} cannot be read`, err);
  }
  const tokens = tokensOf(text);
  if (tokens === undefined) throw new TempoError('internal', `tokens file ${path} has no list of tokens`);
  return tokens;
}

function tokensOf(text: string): Uint32Array | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('tokens' in value)) return undefined;
  const { tokens } = value;
  if (!Array.isArray(tokens) || !tokens.every(isToken)) return undefined;
  return sortedTokens(tokens);
}

function isToken(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

/** Replaces the file as a whole. */
export function writeTokensFile(path: string, tokens: Uint32Array): void {
  const draft = `${path}.tmp`;
  writeFileSync(draft, JSON.stringify({ tokens: [...tokens] }));
  renameSync(draft, path);
}

export function removeTokensFile(path: string): void {
  rmSync(path, { force: true });
}
