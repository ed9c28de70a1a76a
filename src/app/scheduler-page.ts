// The page of the scheduler: what it has handed out, newest first, in a table as Tempo draws it.
import type { FastifyInstance } from 'fastify';
import { type Job, JOB_TYPE_NAMES, tenantOf } from '../modules/backend-scheduler/index.ts';
import { TEXT } from './http-listener.ts';
import { textTable } from './text-table.ts';

const TITLES = 'TENANT JOBID TYPE INPUT OUTPUT STATUS WORKER CREATED START END'.split(' ');
const COLUMNS = TITLES.map((title) => ({ title }));

export function registerSchedulerPage(app: FastifyInstance, jobs: () => readonly Job[]): void {
  app.all('/status/backendscheduler', (_request, reply) =>
    reply.type(TEXT).send(textTable(COLUMNS, jobs().map(cells))),
  );
}

function cells(job: Job): readonly string[] {
  const { detail } = job;
  const blocks = detail.kind === 'compaction' ? detail : { inputs: [], outputs: [] };
  return [
    tenantOf(job),
    job.jobId,
    JOB_TYPE_NAMES[detail.kind],
    `[${blocks.inputs.join(' ')}]`,
    `[${blocks.outputs.join(' ')}]`,
    `JOB_STATUS_${job.status.toUpperCase()}`,
    job.workerId,
    time(job.createdMs),
    time(job.createdMs),
    time(job.endMs),
  ];
}

/** As Go writes a time. */
function time(ms: number): string {
  if (ms === 0) return '0001-01-01 00:00:00 +0000 UTC';
  return `${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')} +0000 UTC`;
}
