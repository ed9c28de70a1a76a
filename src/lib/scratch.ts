// Memory that is used over and over, for what is needed only for the length of one piece of work: V8 counts
// bytes outside of its heap and would collect after every few megabytes.

/** What is asked for above it is made anew each time. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

export class Scratch {
  private bytes = new Uint8Array(0);
  private used = 0;
  /** Asked for since the last reset. */
  private wanted = 0;

  /** What was taken before may be overwritten from now on. */
  reset(): void {
    if (this.wanted > this.bytes.length && this.wanted <= KEPT_BYTES_MAX) {
      this.bytes = new Uint8Array(Math.min(KEPT_BYTES_MAX, this.wanted * 2));
    }
    this.used = 0;
    this.wanted = 0;
  }

  /** Valid until the next `reset`; of any content. */
  take(lengthBytes: number): Uint8Array {
    this.wanted += lengthBytes;
    if (this.used + lengthBytes > this.bytes.length) return new Uint8Array(lengthBytes);
    this.used += lengthBytes;
    return this.bytes.subarray(this.used - lengthBytes, this.used);
  }
}
