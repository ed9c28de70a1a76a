// What the app starts and stops: modules in the order of the graph, backwards when stopping.

export interface Service {
  readonly name: string;
  /** Resolves when the service is ready for work. */
  start(): Promise<void>;
  /** All services are ready: now may begin what makes only the first use quicker. */
  allStarted?(): void;
  /** Resolves when it has stopped; never rejects for work that was cut short. */
  stop(): Promise<void>;
  /** How much longer than usual its stop may take. */
  stopTakesMs?(): number;
  /** undefined = ready, else why not (a line of /ready). */
  readiness?(): string | undefined;
}
