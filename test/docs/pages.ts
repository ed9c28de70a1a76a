// The generated pages and where they stand.
import { readFileSync } from 'node:fs';
import { configPage, flagsPage } from './reference.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

/** The keys that code acts upon, one a line: whoever makes another one act adds it. */
export function keysInEffect(): ReadonlySet<string> {
  const text = readFileSync(`${ROOT}test/docs/keys-in-effect.txt`, 'utf8');
  return new Set(text.trim().split('\n'));
}

/** The keys of Tempo that nothing has to act upon, and why. */
export function keysNotNeeded(): ReadonlyMap<string, string> {
  const text = readFileSync(`${ROOT}test/docs/keys-not-needed.tsv`, 'utf8');
  return new Map(
    text
      .trim()
      .split('\n')
      .map((line) => line.split('\t') as [string, string]),
  );
}

/** Path -> text. */
export function referencePages(): ReadonlyMap<string, string> {
  const inEffect = keysInEffect();
  return new Map([
    [`${ROOT}docs/reference/config.md`, configPage({ inEffect, notNeeded: keysNotNeeded() })],
    [`${ROOT}docs/reference/flags.md`, flagsPage(inEffect)],
  ]);
}
