// Three compactors in a ring over one bucket of MinIO: each block is compacted once, its inputs are deleted
// and the index of its tenant is written by one of them, and what a killed one had goes to the others.
import { GetObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import t from 'tap';
import {
  type BlocksPlace,
  CompactorRing,
  levelOf,
  LIMIT_MS,
  NAMES,
  TENANTS,
} from '../support/compactor-ring.ts';
import { metric, until } from '../support/hostile.ts';
import { BUCKET, s3Client, startMinio } from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(600_000);

const PREFIX = 'some/where';

function blocksInBucket(client: S3Client, yaml: string): BlocksPlace {
  return {
    yaml,
    stored: async (tenant) => {
      const Prefix = `${PREFIX}/${tenant}/`;
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix }));
      const keys = Contents.map(({ Key = '' }) => Key);
      const levels = new Map<string, number | undefined>();
      for (const key of keys) {
        const [block = '', name = ''] = key.slice(Prefix.length).split('/');
        if (block.length !== 36) continue;
        levels.set(block, name === 'meta.json' ? await level(client, key) : levels.get(block));
      }
      return levels;
    },
  };
}

/** undefined = it has gone since. */
async function level(client: S3Client, Key: string): Promise<number | undefined> {
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: BUCKET, Key }));
    return levelOf((await Body?.transformToString()) ?? '');
  } catch (err) {
    if (err instanceof Error && err.name === 'NoSuchKey') return undefined;
    throw err;
  }
}

t.test('three compactors over a bucket, one of them is killed', async (t) => {
  const folder = testFolder(t);
  const minio = await startMinio(`${folder}/minio`);
  t.teardown(() => minio.stop());
  const client = s3Client(minio.address);
  t.teardown(() => client.destroy());
  const ring = await CompactorRing.over(t, folder, blocksInBucket(client, minio.yaml));
  const ingest = await ring.startIngest(t);
  for (let i = 0; i < 3; i++) await ring.sendBlocks(ingest);
  await Promise.all(NAMES.map((name) => ring.start(name)));
  t.ok(await until(() => ring.isCompacted(), LIMIT_MS), 'all is compacted');
  const work = await ring.work();
  const inputs = 3 * TENANTS.length;
  t.equal(
    work.reduce((a, b) => a + b),
    inputs,
    `each block once: ${work.join()}`,
  );
  t.ok(work.filter((blocks) => blocks > 0).length > 1, 'by several');
  t.ok(await until(() => ring.isClean(), LIMIT_MS), 'inputs are deleted');
  const deleted = await ring.each('tempodb_retention_deleted_total');
  t.equal(
    deleted.reduce((a, b) => a + b),
    inputs,
    `each by one: ${deleted.join()}`,
  );
  const isOneBuilder = async (): Promise<boolean> => (await ring.builders()).every((count) => count === 1);
  t.ok(await until(isOneBuilder, LIMIT_MS), 'each index is written by one');

  await ring.running.get('two')!.kill();
  ring.running.delete('two');
  for (let i = 0; i < 2; i++) await ring.sendBlocks(ingest);
  t.ok(await until(() => ring.isCompacted(), LIMIT_MS), 'what the killed one had goes to the others');
  t.ok(await until(isOneBuilder, LIMIT_MS), 'and so do the indexes');
  t.ok(await until(() => ring.isClean(), LIMIT_MS), 'and the blocks to be deleted');
  for (const tempo of ring.running.values())
    t.equal(await metric(tempo, 'tempodb_compaction_errors_total'), 0);
  t.strictSame(await ring.wrong(ingest), [], 'each trace is whole and once');
});
