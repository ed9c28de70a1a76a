// The S3 backend on a double that is as strict as the strictest compatible stores, and that fails as they do.
import t from 'tap';
import type { BucketStore } from '../../src/objectstore/bucket-store.ts';
import { openTestStore, s3Backend, type S3Overrides } from '../support/backends.ts';
import { bytes, codeOf, holdContract } from '../support/object-store-suite.ts';
import { startS3Double } from '../support/s3-double.ts';
import { testFolder } from '../support/test-folder.ts';

const double = await startS3Double();
t.teardown(() => double.stop());

function open(changes: S3Overrides = {}): Promise<BucketStore> {
  return openTestStore(
    s3Backend({ endpoint: double.endpoint, accessKey: 'user', secretKey: 'secret', ...changes }),
  );
}

const store = await open({ pageLength: 7, prefix: 'contract' });
holdContract(t, { name: 's3', store, scratch: testFolder(t) });

async function messageOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'nothing went wrong',
    (err: Error) => err.message,
  );
}

t.test('the check at start asks for no more than a writer needs, and a reader needs less', async (t) => {
  double.seen.length = 0;
  await (await open({ prefix: 'check' })).prepare();
  const methods = (): string[] => double.seen.map((line) => line.split(' ', 1)[0] ?? '');
  t.same(methods(), ['GET', 'PUT', 'GET', 'DELETE']);
  t.match(double.seen[1], /^PUT \/traces\/check\/tempo_check_[0-9a-f-]+$/);
  double.seen.length = 0;
  await (await open({ prefix: 'check', isWriter: false })).prepare();
  t.same(methods(), ['GET', 'GET']);
});

t.test('what stores answer when they are busy is tried again', async (t) => {
  const store = await open({ prefix: 'busy' });
  await store.write('k', bytes('0123456789'));
  for (const code of ['SlowDown', 'InternalError', 'RequestTimeTooSkewed'] as const) {
    const status = code === 'RequestTimeTooSkewed' ? 403 : 503;
    double.failNext('GET', 2, { status, code });
    t.same(await store.read('k'), bytes('0123456789'), code);
    double.failNext('PUT', 1, { status, code });
    await store.write('k', bytes('0123456789'));
  }
  double.truncateNext(2);
  t.same(await store.readRange('k', 2, 4), bytes('2345'), 'half an answer is none');
});

t.test('a store that asks to wait is waited for', async (t) => {
  const store = await open({ prefix: 'wait' });
  await store.write('k', bytes('x'));
  double.failNext('GET', 1, { status: 503, code: 'SlowDown', retryAfter: '1' });
  const begin = performance.now();
  await store.read('k');
  t.ok(performance.now() - begin >= 990, 'a second');
});

t.test('failures that last are told with what to do', async (t) => {
  const store = await open({ prefix: 'lasting' });
  const cases = [
    { status: 403, code: 'AccessDenied', want: /allow s3:PutObject on arn:aws:s3:::traces\/\*$/ },
    { status: 503, code: 'SlowDown', want: /the store asks for fewer requests/ },
    { status: 403, code: 'RequestTimeTooSkewed', want: /set the clock of this machine by NTP/ },
    { status: 400, code: 'ExpiredToken', want: /check the credentials/ },
    { status: 404, code: 'NoSuchBucket', want: /create it, or correct its name/ },
    { status: 400, code: 'InvalidStorageClass', want: /InvalidStorageClass.*will not work/ },
  ];
  for (const { want, ...refusal } of cases) {
    double.failNext('PUT', 9, refusal);
    const message = await messageOf(store.write('a/b', bytes('x')));
    t.match(message, /^cannot write a\/b in s3 bucket traces at 127\.0\.0\.1:\d+: /);
    t.match(message, want);
  }
  double.failNext('PUT', 0, { status: 200, code: '' });
  double.failNext('HEAD', 9, { status: 403, code: '' });
  t.match(await messageOf(store.stat('a/b')), /allow s3:GetObject/, 'an answer without a body');
  double.failNext('HEAD', 0, { status: 200, code: '' });
});

t.test('a request that is cancelled ends', async (t) => {
  const store = await open({ retry: { attemptsMax: 9, firstDelayMs: 60_000, delayMsMax: 60_000 } });
  double.failNext('GET', 9, { status: 503, code: 'SlowDown' });
  const controller = new AbortController();
  const reading = codeOf(store.read('k', controller.signal));
  setTimeout(() => controller.abort(), 20);
  t.equal(await reading, 'cancelled');
  double.failNext('GET', 0, { status: 200, code: '' });
  t.equal(await codeOf(store.read('k', AbortSignal.abort())), 'cancelled');
});
