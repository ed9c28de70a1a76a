// An answer that grows: what a query finds while it runs, taken so that a slow reader holds nothing up and a
// fast query is not cut into crumbs.

/** How long the reader waits for more between two parts. */
const INTERVAL_MS = 250;

/**
 * Runs a query and yields what it has found since the last time, if it has worked at all: at most every
 * 250 ms, the first part that is worth it at once. Returns the answer, after which nothing more is yielded;
 * throws what the query throws.
 *
 * @param run gets what is to be called when something was read, with a way to take what was found.
 * @param isWorth what an impatient reader wants to see; without it nothing is taken before its time.
 */
export async function* growing<Part, Answer>(
  run: (worked: (take: () => Part) => void) => Promise<Answer>,
  isWorth?: (part: Part) => boolean,
): AsyncGenerator<Part, Answer> {
  let take: (() => Part) | undefined;
  let first: Part | undefined;
  let isFirstShown = false;
  let isDone = false;
  let wake = (): void => {};
  const answer = run((newTake) => {
    take = newTake;
    if (isWorth === undefined || isFirstShown || first !== undefined) return;
    const part = newTake();
    if (!isWorth(part)) return;
    first = part;
    wake();
  });
  const done = answer.then(
    () => void (isDone = true),
    () => void (isDone = true),
  );
  for (;;) {
    if (first === undefined) await pause(done, (resolve) => (wake = resolve));
    // When the last thing was read the answer is there in a moment.
    await new Promise((resolve) => setImmediate(resolve));
    if (isDone) return answer;
    const part = first ?? take?.();
    if (part === undefined) continue;
    isFirstShown ||= first !== undefined;
    first = undefined;
    take = undefined;
    yield part;
  }
}

/** Until the interval is over, the query done, or `wake` called. */
async function pause(done: Promise<void>, onWake: (resolve: () => void) => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, INTERVAL_MS);
    onWake(resolve);
  });
  await Promise.race([waited, done]).finally(() => clearTimeout(timer));
}
