/** Of an integer that is kept as a base and a difference the nearest double: a large base is none itself. */
export function roundedSum(base: bigint, difference: number): number {
  if (base === 0n) return difference;
  const near = Number(base);
  return near + (Number(base - BigInt(near)) + difference);
}
