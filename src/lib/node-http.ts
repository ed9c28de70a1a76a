// node:http without an import of it: one evaluates every name that it exports, and three of them load all of
// undici with them (50 ms of a start, and memory for what is never used).

export const { Agent: HttpAgent, createServer: createHttpServer } = process.getBuiltinModule('node:http');
