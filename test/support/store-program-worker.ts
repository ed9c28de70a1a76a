// A thread that runs the program of each seed it is told, one after the other, and answers what came of it.
import { parentPort } from 'node:worker_threads';
import { runProgram } from './store-program.ts';

parentPort!.on('message', async (seed: number) => parentPort!.postMessage(await runProgram(seed)));
