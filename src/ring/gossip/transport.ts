// How gossip travels, as a contract: packets that may be lost, and exchanges of all that two members know. In
// a simulation it is a network of the test's.

export interface Receiver {
  /** @param from host:port that the sender names as its own. */
  packet(packet: Uint8Array, from: string): void;
  /** @returns the answer; throws when the request is none. TruncatedError = the rest has to come. */
  request(bytes: Uint8Array): Uint8Array;
}

export interface Transport {
  /** Sends a packet to host:port. @param failed called when it is certain that it did not arrive. */
  send(to: string, packet: Uint8Array, failed?: () => void): void;
  /** Sends a request. @returns what `read` made of the answer. */
  exchange<T>(to: string, request: Uint8Array, read: (answer: Uint8Array) => T): Promise<T>;
}
