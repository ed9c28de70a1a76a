// From the command line to a checked configuration: which file, which flags, and what is wrong with them.
import { readFileSync } from 'node:fs';
import { ConfigError, type Problem } from '../config/errors.ts';
import type { Environment } from '../config/expand-env.ts';
import type { FlagSpec } from '../config/flags.ts';
import { loadConfig, type FlagValue, type LoadOptions } from '../config/load.ts';
import { checkConfig } from './check.ts';
import { rootBlock, type TempoConfig } from './config.ts';
import { budgetOf } from './memory-shares.ts';
import { builtInConfig, isWithoutConfiguration, userFolder } from './no-arguments.ts';

export interface StartupConfig {
  readonly config: TempoConfig;
  readonly warnings: readonly Problem[];
  /** Why it cannot be started by this build, though it is right. */
  readonly missing: readonly Problem[];
  /** Where a program without configuration keeps its data; undefined = it has one. */
  readonly userFolder: string | undefined;
}

/** Flag -> its values, in order. */
export type GivenFlags = ReadonlyMap<string, readonly string[]>;

export function isOn(given: GivenFlags, flag: string): boolean {
  return given.get(flag)?.at(-1) === 'true';
}

/** @throws ConfigError with every problem found. */
export function startupConfig(
  env: Environment,
  given: GivenFlags,
  flags: readonly FlagSpec[],
): StartupConfig {
  const values = flags.flatMap(({ name: flag, path, isList }): FlagValue[] => {
    const texts = given.get(flag);
    return path === undefined || texts === undefined ? [] : [{ flag, path, values: texts, isList }];
  });
  const folder = isWithoutConfiguration(given.keys())
    ? userFolder({ platform: process.platform, env })
    : undefined;
  const { config, warnings } = loadConfig(rootBlock, { ...source(env, given, folder), flags: values });
  const findings = checkConfig(config, budgetOf(config));
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return {
    config,
    warnings: [...warnings, ...findings.warnings],
    missing: findings.missing,
    userFolder: folder,
  };
}

function source(
  env: Environment,
  given: GivenFlags,
  folder: string | undefined,
): Pick<LoadOptions, 'file' | 'env'> {
  if (folder !== undefined) return { file: { name: 'without configuration', text: builtInConfig(folder) } };
  const name = given.get('config.file')?.at(-1);
  return {
    file: name === undefined ? undefined : { name, text: readConfigFile(name) },
    env: isOn(given, 'config.expand-env') ? env : undefined,
  };
}

function readConfigFile(name: string): string {
  try {
    return readFileSync(name, 'utf8');
  } catch (err) {
    const text = `cannot be read: ${err instanceof Error ? err.message : String(err)}`;
    throw new ConfigError([{ at: name, path: '', text }]);
  }
}
