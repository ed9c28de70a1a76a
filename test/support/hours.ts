// Times for the spans of tests that wait until blocks are joined: compaction joins blocks of one hour only,
// and a test may run over the end of one.

const HOUR_MS = 3_600_000;

/** Unix milliseconds: the middle of the hour before the one in which the process began. */
export const MIDDLE_OF_LAST_HOUR_MS = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS / 2;
