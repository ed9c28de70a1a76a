// The memberlist block with its defaults, and what a test wants otherwise.
import { block } from '../../src/config/field.ts';
import { loadConfig } from '../../src/config/load.ts';
import { type MemberlistConfig, memberlistFields } from '../../src/ring/config.ts';

const DEFAULTS = loadConfig(block(memberlistFields, 'gossip'), {}).config;

export function memberlistConfig(over: Partial<MemberlistConfig> = {}): MemberlistConfig {
  return { ...DEFAULTS, ...over };
}
