// Series of a metrics query that still runs, which go to the reader of a stream: how many and how often, of
// whichever process makes them.

/** Tempo's streams tell of news as often. */
export const EARLY_SERIES_MS = 1000;
/** To make them takes one part of so many of the time at most. */
export const EARLY_SERIES_SHARE = 5;
/** Of a stream; clients refuse those over 4 MiB. */
export const MESSAGE_BYTES_MAX = 3 << 20;
/** More at a time cost more than they tell. */
export const EARLY_MESSAGES_MAX = 4;
