// Whether anyone still waits for what is being made of series: asked now and then in loops over them.

/**
 * Throws when nobody waits any more.
 * @param cells that are worked at until the next call, 1 unless told: samples, or what takes as long.
 */
export type Check = (cells?: number) => void;

/** After so many the caller is asked: a few milliseconds. */
export const CELLS_A_LOOK = 1 << 14;

export const noCheck: Check = () => undefined;

/** @param look throws when nobody waits any more, and may take a while itself. */
export function checkOf(look: () => void): Check {
  let left = 0;
  return (cells = 1) => {
    left -= cells;
    if (left >= 0) return;
    left = CELLS_A_LOOK;
    look();
  };
}
