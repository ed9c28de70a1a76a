// An answer that grows: what a query reports while it runs, gathered so that a slow reader holds nothing up
// and a fast query is not cut into crumbs.

/** How long the reader waits for more between two parts. */
const INTERVAL_MS = 250;

/**
 * Runs a query and yields what it has reported since the last time: at most every 250 ms, the first part that
 * is worth it at once. Returns the answer, after which nothing more is yielded; throws what the query throws.
 *
 * @param isWorth what an impatient reader wants to see.
 */
export async function* growing<Part, Answer>(
  run: (report: (part: Part) => void) => Promise<Answer>,
  isWorth: (part: Part) => boolean,
): AsyncGenerator<readonly Part[], Answer> {
  let reported: Part[] = [];
  let wake = (): void => {};
  let isFirstShown = false;
  let isDone = false;
  const answer = run((part) => {
    reported.push(part);
    if (!isFirstShown && isWorth(part)) wake();
  });
  const done = answer.then(
    () => void (isDone = true),
    () => void (isDone = true),
  );
  for (;;) {
    if (!(!isFirstShown && reported.some(isWorth))) await pause(done, (resolve) => (wake = resolve));
    if (isDone) return answer;
    if (reported.length === 0) continue;
    const parts = reported;
    reported = [];
    isFirstShown ||= parts.some(isWorth);
    yield parts;
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
