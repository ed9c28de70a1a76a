// From fields as the query names them to fields as sources store them.
import type { FieldRef } from '../ast.ts';
import type { AttributeScope, Field, Owner } from '../source.ts';

/** Where an unscoped attribute is looked up, in this order. Events, links and scopes have to be named. */
export const LOOKUP_ORDER: readonly AttributeScope[] = ['span', 'resource'];

const SCOPE_OWNER: Record<AttributeScope, Owner> = {
  span: 'span',
  resource: 'resource',
  event: 'event',
  link: 'link',
  instrumentation: 'scope',
};

export function ownerOf(field: Field): Owner {
  if (field.kind === 'attribute') return SCOPE_OWNER[field.scope];
  const scope = field.name.slice(0, field.name.indexOf(':'));
  return scope === 'instrumentation' ? 'scope' : (scope as Owner);
}

/** The stored fields behind a reference, in lookup order. */
export function storedFields(ref: FieldRef): readonly Field[] {
  if (ref.kind === 'intrinsic') return ref.name === 'parent' ? [] : [{ kind: 'intrinsic', name: ref.name }];
  const scopes = ref.scope === 'none' ? LOOKUP_ORDER : [ref.scope];
  return scopes.map((scope) => ({ kind: 'attribute', scope, name: ref.name }));
}
