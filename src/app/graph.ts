// Which modules there are, what each needs, and which of them a target starts: data, and the order that
// follows from it.
import { nearest } from '../lib/nearest.ts';

/**
 * A module -> what must run before it. They start in the order that they have here: what queries are answered
 * from, the ring, the store and the ingester, is up before those who answer.
 */
const NEEDS = {
  server: [],
  ring: ['server'],
  overrides: ['server'],
  store: ['overrides'],
  ingester: ['store'],
  querier: ['store'],
  'query-frontend': ['overrides'],
  distributor: ['overrides'],
  compactor: ['store'],
  'backend-scheduler': ['store'],
  'backend-worker': ['store'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

interface RingConfig {
  readonly ingester: {
    readonly lifecycler: { readonly ring: { readonly kvstore: { readonly store: string } } };
  };
  readonly memberlist: { readonly joinMembers: readonly string[] };
}

export type ModuleName = keyof typeof NEEDS;

/** The rings of a single process have one member each, which nobody need look up. */
const SINGLE_PROCESS = 'all';

const TARGETS: Readonly<Record<string, readonly ModuleName[]>> = {
  [SINGLE_PROCESS]: ['ingester', 'querier', 'query-frontend', 'distributor', 'compactor'],
  'scalable-single-binary': ['ring', 'ingester', 'querier', 'query-frontend', 'distributor', 'compactor'],
  distributor: ['ring', 'distributor'],
  ingester: ['ring', 'ingester'],
  querier: ['ring', 'querier'],
  'query-frontend': ['query-frontend'],
  compactor: ['compactor'],
  'backend-scheduler': ['backend-scheduler'],
  'backend-worker': ['backend-worker'],
  read: ['ring', 'querier', 'query-frontend'],
  write: ['ring', 'ingester', 'distributor'],
  backend: ['compactor'],
};

/** Targets of Tempo that this build does not have yet. */
const TARGETS_NOT_YET: readonly string[] = [
  'all-3.0',
  'metrics-generator',
  'metrics-generator-no-local-blocks',
  'block-builder',
  'live-store',
];

/** A target may be a list with commas. */
export function targetsOf(target: string): readonly string[] {
  return target.split(',').map((each) => each.trim());
}

/** Whether spans stay in the process that takes them. */
export function isSingleProcess(target: string): boolean {
  return targetsOf(target).includes(SINGLE_PROCESS);
}

/**
 * Whether the process follows rings: always where spans come in, and where queries are answered if somebody
 * says where the members of the ring are.
 */
export function isInRing(order: readonly ModuleName[], { ingester, memberlist }: RingConfig): boolean {
  if (!order.includes('ring')) return false;
  if (order.includes('distributor') || order.includes('ingester')) return true;
  const { store } = ingester.lifecycler.ring.kvstore;
  return store === 'memberlist' ? memberlist.joinMembers.length > 0 : store !== 'inmemory';
}

/** Why a target of Tempo cannot be started; undefined = it can, or it is none. */
export function targetMissing(target: string): string | undefined {
  const missing = targetsOf(target).find((each) => TARGETS_NOT_YET.includes(each));
  if (missing === undefined) return undefined;
  return `target "${missing}" is not available in this build yet, use ${Object.keys(TARGETS).join(', ')}`;
}

/** undefined = Tempo has the target. */
export function targetProblem(target: string): string | undefined {
  const known = [...Object.keys(TARGETS), ...TARGETS_NOT_YET];
  const unknown = targetsOf(target).find((each) => !known.includes(each));
  if (unknown === undefined) return undefined;
  const near = nearest(unknown, known);
  const proposal = near === undefined ? '' : `, did you mean ${near}?`;
  return `unknown target "${unknown}"${proposal}; known: ${known.join(', ')}`;
}

/** The modules of a target, in the order in which they start; none twice. */
export function startOrder(target: string): readonly ModuleName[] {
  const order: ModuleName[] = [];
  const visit = (name: ModuleName): void => {
    if (order.includes(name)) return;
    NEEDS[name].forEach(visit);
    order.push(name);
  };
  for (const each of targetsOf(target)) for (const name of TARGETS[each] ?? []) visit(name);
  // In whatever order a list has them.
  const sorted = (Object.keys(NEEDS) as ModuleName[]).filter((name) => order.includes(name));
  return isSingleProcess(target) ? sorted.filter((name) => name !== 'ring') : sorted;
}
