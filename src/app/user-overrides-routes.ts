// /api/overrides: how tenants read, set, change and remove limits of their own.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { httpStatusOf } from '../api/errors.ts';
import { TempoError } from '../lib/errors.ts';
import { TENANT_HEADER, tenantOfHeader } from '../model/tenant.ts';
import type { Overrides } from '../overrides/overrides.ts';
import {
  mergedPlain,
  mergePatch,
  parseJson,
  saysUserLimits,
  type UserLimits,
  userLimitsFromPlain,
} from '../overrides/user-limits.ts';
import { userLimitsProblem } from '../overrides/user-limits-check.ts';
import type { UserOverrides } from '../overrides/user-overrides.ts';
import { TEXT } from './http-listener.ts';

export interface UserOverridesRoutesOptions {
  readonly httpApiPrefix: string;
  readonly multitenancyEnabled: boolean;
  readonly userOverrides: UserOverrides;
  readonly overrides: Overrides;
  /** Names that a tenant may choose from. */
  readonly forwarders: ReadonlySet<string>;
  /** `overrides.user_configurable_overrides.api.check_for_conflicting_runtime_overrides`. */
  readonly refusesConflicts: boolean;
}

/** The local backend keeps no versions: any is accepted. */
const VERSION = '0';
const PRECONDITION_REQUIRED = 428;
const SKIP = 'skip-conflicting-overrides-check';
/** Go's `strconv.ParseBool`. */
const TRUE = ['1', 't', 'T', 'true', 'TRUE', 'True'];
const FALSE = ['0', 'f', 'F', 'false', 'FALSE', 'False'];
const CONFLICT =
  'tenant has conflicting overrides set in runtime config, ' +
  'contact your system administrator to perform changes through the API';

type Answer = (tenant: string, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

export function registerUserOverridesRoutes(app: FastifyInstance, options: UserOverridesRoutesOptions): void {
  const routes = new UserOverridesRoutes(options);
  const methods: Readonly<Record<string, Answer>> = {
    GET: (...call) => routes.get(...call),
    POST: (...call) => routes.post(...call),
    PATCH: (...call) => routes.patch(...call),
    DELETE: (...call) => routes.remove(...call),
  };
  app.all(`${options.httpApiPrefix}/api/overrides`, async (request, reply) => {
    const answer = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
    if (answer === undefined) return reply.code(405).send();
    const tenant = tenantOfHeader(request.headers[TENANT_HEADER], options.multitenancyEnabled);
    return answer(tenant, request, reply).catch((err: unknown) => {
      // Tempo ends what it says with a line feed.
      if (!(err instanceof TempoError) || err.code !== 'invalid_argument') throw err;
      return reply.code(httpStatusOf(err)).type(TEXT).send(`${err.message}\n`);
    });
  });
}

class UserOverridesRoutes {
  readonly #options: UserOverridesRoutesOptions;

  constructor(options: UserOverridesRoutesOptions) {
    this.#options = options;
  }

  async get(tenant: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { userOverrides, overrides } = this.#options;
    const scope = paramsOf(request).get('scope') ?? 'api';
    if (scope !== 'api' && scope !== 'merged') {
      throw invalid(`unknown scope "${scope}", valid options are api and merged`);
    }
    const limits = await userOverrides.get(tenant);
    if (limits === undefined) return reply.code(404).send();
    if (scope === 'api') return sendLimits(reply, limits);
    return sendLimits(reply, mergedPlain(overrides.of(tenant), limits, overrides.defaults));
  }

  async post(tenant: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!hasVersion(request)) return versionRequired(reply);
    const skips = skipsConflicts(request);
    const limits = userLimitsFromPlain(parseJson(bodyOf(request)));
    await this.#options.userOverrides.set(tenant, (before) => this.#checked(tenant, before, limits, skips));
    return reply.header('etag', VERSION).send();
  }

  async patch(tenant: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const patch = parseJson(bodyOf(request));
    const skips = skipsConflicts(request);
    const limits = await this.#options.userOverrides.set(tenant, (before) =>
      this.#checked(tenant, before, userLimitsFromPlain(mergePatch(before, patch)), skips),
    );
    return sendLimits(reply, limits);
  }

  async remove(tenant: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!hasVersion(request)) return versionRequired(reply);
    await this.#options.userOverrides.remove(tenant);
    return reply.send();
  }

  #checked(tenant: string, before: UserLimits | undefined, limits: UserLimits, skips: boolean): UserLimits {
    const { forwarders, overrides, refusesConflicts } = this.#options;
    const problem = userLimitsProblem(limits, forwarders);
    if (problem !== undefined) throw invalid(problem);
    // Who has set something before may go on.
    const isChecked = refusesConflicts && !skips && before === undefined;
    if (isChecked && saysUserLimits(overrides.runtimeOf(tenant))) throw invalid(CONFLICT);
    return limits;
  }
}

function paramsOf({ url }: FastifyRequest): URLSearchParams {
  return new URLSearchParams(url.split('?', 2)[1]);
}

function bodyOf({ body }: FastifyRequest): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array(0);
}

function hasVersion({ headers }: FastifyRequest): boolean {
  return (headers['if-match'] ?? '') !== '';
}

function versionRequired(reply: FastifyReply): FastifyReply {
  return reply.code(PRECONDITION_REQUIRED).type(TEXT).send('must specify If-Match header\n');
}

function skipsConflicts(request: FastifyRequest): boolean {
  const text = paramsOf(request).get(SKIP);
  if (text === null || FALSE.includes(text)) return false;
  if (TRUE.includes(text)) return true;
  throw invalid(`could not parse ${SKIP}, must be a boolean value`);
}

function sendLimits(reply: FastifyReply, limits: unknown): FastifyReply {
  return reply
    .header('etag', VERSION)
    .type('application/json')
    .send(Buffer.from(JSON.stringify(limits)));
}

function invalid(text: string): TempoError {
  return new TempoError('invalid_argument', text);
}
