// Scheduler and workers over a bucket of MinIO, killed at random moments while blocks come in. KILL_ROUNDS
// sets the number of kills, KILL_SEED the moments.
import { join } from 'node:path';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { openTestStore, s3Backend } from '../support/backends.ts';
import { JobCluster, type JobStore, seededNumbers } from '../support/job-cluster.ts';
import { BUCKET, S3_PASSWORD, S3_USER, startMinio } from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(600_000);

const rounds = Number(process.env['KILL_ROUNDS'] ?? 4);
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);

t.test(`${rounds} kills (KILL_SEED=${seed})`, { timeout: 300_000 + rounds * 10_000 }, async (t) => {
  const folder = testFolder(t);
  const server = await startMinio(join(folder, 'minio'));
  t.teardown(() => server.stop());
  const keys = { accessKey: S3_USER, secretKey: S3_PASSWORD, prefix: 'some/where' };
  const bucket = await openTestStore(s3Backend({ endpoint: server.address, bucket: BUCKET, ...keys }));
  const store: JobStore = {
    yaml: server.yaml,
    blockIds: async () => (await bucket.listFolders('single-tenant')).filter((name) => name.length === 36),
    meta: async (blockId, name = 'meta.json') => {
      try {
        return Buffer.from(await bucket.read(`single-tenant/${blockId}/${name}`)).toString();
      } catch (err) {
        if (err instanceof TempoError && err.code === 'not_found') return undefined;
        throw err;
      }
    },
  };
  const cluster = await JobCluster.create(t, store, seededNumbers(seed), folder);
  await cluster.survivesKills(t, rounds);
});
