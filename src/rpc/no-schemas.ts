// Fastify without its compilers of schemas: no route here has one, and loading them takes 15 to 20 ms of each
// start.
import type { FastifyServerOptions } from 'fastify';

const compile = (): never => {
  throw new Error('a route with a schema: nothing here compiles one');
};

export const NO_SCHEMAS: Required<Pick<FastifyServerOptions, 'schemaController'>> = {
  schemaController: {
    compilersFactory: { buildValidator: () => compile, buildSerializer: () => compile },
  },
};
