// The life of the process: command line, configuration, start, signals, stop. Returns exit codes, never exits
// by itself.
import { ConfigError, problemLine } from '../config/errors.ts';
import { flagsOf, type FlagSpec } from '../config/flags.ts';
import { createLogger, type Logger } from '../telemetry/log.ts';
import { App, type ServiceState } from './app.ts';
import { checkLimitsFile, type LimitsFindings } from './check-limits-file.ts';
import { parseCommandLine, UsageError, usageText } from './command-line.ts';
import { rootBlock, type TempoConfig } from './config.ts';
import { targetsOf } from './graph.ts';
import { IGNORED_FLAGS } from './ignored-flags.ts';
import { welcomeText } from './no-arguments.ts';
import { isOn, startupConfig, type GivenFlags, type StartupConfig } from './startup-config.ts';
import { versionText, VERSION } from './version.ts';
import { wire } from './wire.ts';

const EXIT_OK = 0;
export const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** After a signal the process ends within this time, and what a worker may take to finish its job. */
const STOP_MS_MAX = 5000;

/** npm passes on what its whole group of processes gets: the same signal comes twice. */
const SIGNAL_AGAIN_MS = 1000;

/** Why the program stops when it was asked over HTTP. */
const REQUEST = 'request';

/** What of the process the program touches; given by the entry point, so that tests can give another. */
export interface Host {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  out(text: string): void;
  err(text: string): void;
  /** Calls back at SIGINT and SIGTERM. */
  onSignal(listener: (signal: string) => void): void;
  /** Ends the process at once. */
  exit(code: number): void;
}

function programFlag(name: string, type: string, doc: string): FlagSpec {
  return { name, path: undefined, type, doc, default: '', isList: false };
}

const PROGRAM_FLAGS: readonly FlagSpec[] = [
  programFlag('config.file', 'value', 'configuration file'),
  programFlag('config.expand-env', 'bool', 'expand ${NAME} and ${NAME:-default} in the configuration file'),
  {
    ...programFlag('config.verify', 'bool', 'check the configuration and end; strict = fail at warnings too'),
    values: ['strict'],
  },
  programFlag('version', 'bool', 'print the version and end'),
  programFlag('help', 'bool', 'print the flags and end'),
  programFlag('h', 'bool', 'print the flags and end'),
];

/** Runs until the process may end. @returns the exit code. */
export async function run(host: Host): Promise<number> {
  const flags = [...PROGRAM_FLAGS, ...flagsOf(rootBlock), ...IGNORED_FLAGS];
  let given: GivenFlags;
  try {
    given = parseCommandLine(host.args, flags);
  } catch (err) {
    if (!(err instanceof UsageError)) throw err;
    // Again below the flags, which fill more than a screen.
    host.err(`${err.message}\n${usageText(flags)}\n${err.message}\n`);
    return EXIT_USAGE;
  }
  if (isOn(given, 'help') || isOn(given, 'h')) {
    host.out(usageText(flags));
    return EXIT_OK;
  }
  if (isOn(given, 'version')) {
    host.out(versionText());
    return EXIT_OK;
  }
  let loaded: StartupConfig;
  try {
    loaded = startupConfig(host.env, given, flags);
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err;
    return refuse(host, err, isOn(given, 'config.expand-env'));
  }
  const verify = given.get('config.verify')?.at(-1) ?? 'false';
  if (verify !== 'false') {
    const limits = checkLimitsFile(loaded.config.overrides.perTenantOverrideConfig, {
      env: isOn(given, 'config.expand-env') ? host.env : undefined,
      replicationFactor: loaded.config.ingester.lifecycler.ring.replicationFactor,
    });
    return tell(host, loaded, limits, verify === 'strict');
  }
  return serve(host, loaded, isOn(given, 'config.expand-env') ? host.env : undefined);
}

function refuse(host: Host, { problems }: ConfigError, isExpanded: boolean): number {
  for (const problem of problems) host.err(`failed parsing config: ${problemLine(problem)}\n`);
  if (!isExpanded && problems.some(({ text }) => text.includes('${'))) {
    host.err('${NAME} and ${NAME:-default} are replaced with -config.expand-env=true\n');
  }
  return problems.every(({ at }) => at.startsWith('-')) ? EXIT_USAGE : EXIT_FAILED;
}

/** `-config.verify`. */
function tell(host: Host, loaded: StartupConfig, limits: LimitsFindings, isStrict: boolean): number {
  const warnings = [...loaded.warnings, ...limits.warnings];
  const errors = [...loaded.missing, ...limits.problems];
  for (const found of warnings) host.err(`warning: ${problemLine(found)}\n`);
  for (const found of errors) host.err(`error: ${problemLine(found)}\n`);
  return errors.length > 0 || (isStrict && warnings.length > 0) ? EXIT_FAILED : EXIT_OK;
}

/** @param env expands `${NAME}` in files that are read while running; undefined = no expansion. */
async function serve(host: Host, loaded: StartupConfig, env: Host['env'] | undefined): Promise<number> {
  const { config, missing, warnings, userFolder } = loaded;
  const { logLevel: level, logFormat: format } = config.server;
  const logger = createLogger({ level, format, write: (line) => host.err(line) });
  for (const warning of warnings) logger.warn('configuration warning', { detail: problemLine(warning) });
  const cannotRun = (err: string): number => {
    logger.error('error running Tempo', { err });
    return EXIT_FAILED;
  };
  if (missing.length > 0) return cannotRun(missing.map(({ path, text }) => `${text} (${path})`).join('; '));
  const app = new App(logger);
  const { stop, stopped } = stopper(host, app, config, logger);
  host.onSignal(stop);
  try {
    logger.info('Starting Tempo', { version: VERSION, target: config.target, node: process.version });
    const begin = performance.now();
    const requestShutdown = (): void => stop(REQUEST);
    const readiness = (): string | undefined => app.readiness();
    const isServing = (): boolean => app.isServing;
    const stateOf = (module: string): ServiceState => app.stateOf(module);
    const started = app.start(wire(config, { env, logger, readiness, isServing, stateOf, requestShutdown }));
    // What is waited for while starting may never come.
    const isUp = await Promise.race([started.then(() => true), stopped.then(() => false)]);
    if (!isUp) return await stopped;
    logger.info('Tempo started', { duration_ms: Math.round(performance.now() - begin) });
    if (userFolder !== undefined) host.out(welcomeText(config, userFolder));
  } catch (err) {
    return cannotRun(errorLine(err));
  }
  return stopped;
}

interface Stopper {
  /** The first call stops the program in order; a signal after it ends it at once. */
  readonly stop: (cause: string) => void;
  /** Resolves with the exit code when the program has stopped. */
  readonly stopped: Promise<number>;
}

function stopper(host: Host, app: App, config: TempoConfig, logger: Logger): Stopper {
  const { shutdownDelayMs: delayMs, backendWorker, target } = config;
  const isWorker = targetsOf(target).includes('backend-worker');
  const finishMs = isWorker ? backendWorker.finishOnShutdownTimeoutMs : 0;
  const { promise: stopped, resolve } = Promise.withResolvers<number>();
  let isStopping = false;
  let signalledMs: number | undefined;
  let late: NodeJS.Timeout | undefined;
  /** What is asked of an ingester while it stops may take longer. */
  const limitMs = (): number => delayMs + Math.max(finishMs, app.stopTakesMs()) + STOP_MS_MAX;
  const wait = (waitedMs: number): void => {
    const restMs = limitMs() - waitedMs;
    if (restMs <= 0) {
      logger.error('modules did not stop in time', { limit_ms: waitedMs });
      host.exit(EXIT_FAILED);
      return;
    }
    late = setTimeout(wait, restMs, waitedMs + restMs).unref();
  };
  const stop = (cause: string): void => {
    if (cause !== REQUEST) {
      const nowMs = performance.now();
      if (nowMs - (signalledMs ?? Infinity) >= SIGNAL_AGAIN_MS) host.exit(EXIT_FAILED);
      signalledMs ??= nowMs;
    }
    if (isStopping) return;
    isStopping = true;
    logger.info('stopping', { cause });
    wait(0);
    void app.stop(delayMs).then(() => {
      clearTimeout(late);
      logger.info('Tempo stopped');
      resolve(EXIT_OK);
    });
  };
  return { stop, stopped };
}

/** The error and its causes, in one line. */
function errorLine(err: unknown): string {
  if (!(err instanceof Error)) return String(err);
  const { message, cause } = err;
  const isTold = !(cause instanceof Error) || ('code' in cause && cause.code === 'EADDRINUSE');
  const line = isTold || message.includes(cause.message) ? message : `${message}: ${errorLine(cause)}`;
  return line.replaceAll(/\s*\n\s*/g, '; ');
}
