// A thread that runs the program of each seed it is told, one after the other, and answers what came of it.
import { parentPort } from 'node:worker_threads';
import { runProgram } from './store-program.ts';

// Time stands still in it: what gives way after some milliseconds would do so as the machine is busy or not,
// and a seed would not tell everything.
performance.now = () => 0;

parentPort!.on('message', (seed: number) => {
  void runProgram(seed).then((outcome) => parentPort!.postMessage(outcome));
});
