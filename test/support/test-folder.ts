// The folder of a test, which goes when all else of the test has ended.
import type { Test } from 'tap';

/** Made anew, with such files. The test's teardowns end whoever writes into it, and only then it goes. */
export function testFolder(t: Test, content?: Parameters<Test['testdir']>[0]): string {
  // tap removes the folder before the teardowns of a test that had none when it asked for the folder.
  t.teardown(() => undefined);
  return t.testdir(content);
}
