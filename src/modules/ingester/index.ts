// The ingester's door.
export { createIngester, type Ingester, type IngesterOptions } from './module.ts';
export { registerPushMethods } from './push-methods.ts';
export { registerReadOnlyRoute } from './read-only-route.ts';
