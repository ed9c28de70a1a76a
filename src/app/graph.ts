// Which modules there are, what each needs, and which of them a target starts: data, and the order that
// follows from it.
import { nearest } from '../lib/nearest.ts';

/** A module -> what must run before it. */
const NEEDS = {
  server: [],
  overrides: ['server'],
  store: ['overrides'],
  ingester: ['store'],
  querier: ['store', 'ingester'],
  'query-frontend': ['querier'],
  distributor: ['ingester'],
  compactor: ['store'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type ModuleName = keyof typeof NEEDS;

const TARGETS: Readonly<Record<string, readonly ModuleName[]>> = {
  all: ['query-frontend', 'distributor', 'compactor'],
};

/** Targets of Tempo that this build does not have yet. */
const TARGETS_NOT_YET: readonly string[] = [
  'all-3.0',
  'scalable-single-binary',
  'distributor',
  'ingester',
  'querier',
  'query-frontend',
  'compactor',
  'metrics-generator',
  'metrics-generator-no-local-blocks',
  'block-builder',
  'live-store',
  'backend-scheduler',
  'backend-worker',
];

/** Why a target of Tempo cannot be started; undefined = it can, or it is none. */
export function targetMissing(target: string): string | undefined {
  if (!TARGETS_NOT_YET.includes(target)) return undefined;
  return `target "${target}" is not available in this build yet, use all`;
}

/** undefined = Tempo has the target. */
export function targetProblem(target: string): string | undefined {
  if (Object.hasOwn(TARGETS, target) || TARGETS_NOT_YET.includes(target)) return undefined;
  const known = [...Object.keys(TARGETS), ...TARGETS_NOT_YET];
  const near = nearest(target, known);
  const proposal = near === undefined ? '' : `, did you mean ${near}?`;
  return `unknown target "${target}"${proposal}; known: ${known.join(', ')}`;
}

/** The modules of a target, each after what it needs. */
export function startOrder(target: string): readonly ModuleName[] {
  const order: ModuleName[] = [];
  const visit = (name: ModuleName): void => {
    if (order.includes(name)) return;
    NEEDS[name].forEach(visit);
    order.push(name);
  };
  for (const name of TARGETS[target] ?? []) visit(name);
  return order;
}
