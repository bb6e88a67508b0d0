import express from 'express';
import type { Express, Request, Response } from 'express';
import { DomainError } from '../domain/errors.ts';
import { httpRequestSeconds, renderMetrics } from '../metrics.ts';
import { createBackground } from './background.ts';
import type { Dependencies } from './dependencies.ts';
import { renderDocs } from './docs.ts';
import { basePath, type Endpoint } from './endpoint.ts';
import { beginExchange } from './exchange.ts';
import type { Exchange } from './exchange.ts';
import { linkRoutes } from './links.ts';
import { describeApi } from './openapi.ts';
import { retryAfterSeconds, toProblem } from './problem.ts';
import { createRefusals } from './refusals.ts';
import type { Route } from './route.ts';
import { send, serve, auditHeader } from './serve.ts';
import type { Reply, Server } from './serve.ts';
import { slackRoutes } from './slack-interactions.ts';

export interface AppOptions extends Dependencies {
  readonly endpoints: readonly Endpoint[];
  /** Checks each answer against its documented schema and fails the request when they differ: for tests. */
  readonly verifyAnswers?: boolean;
}

export interface App {
  readonly express: Express;
  /** Resolves when the work that follows answers is done. */
  settled(): Promise<void>;
}

/** The HTTP application: every endpoint, the documentation and the probes. It listens nowhere yet. */
export function createApp({ endpoints, verifyAnswers = false, ...deps }: AppOptions): App {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  const background = createBackground(deps.log);
  const server: Server = { deps, refusals: createRefusals(deps), background, verifyAnswers };
  mountProbes(app, deps);
  mountDocs(app, deps, endpoints);
  mountRoutes(app, server, [...linkRoutes(deps), ...slackRoutes(deps)]);
  for (const endpoint of endpoints) {
    app[endpoint.method](
      expressPath(basePath + endpoint.path),
      answering(deps, basePath + endpoint.path, (request, exchange) => serve(endpoint, request, exchange, server)),
    );
  }
  refuseOtherMethods(
    app,
    deps,
    endpoints.map(({ method, path }) => ({ method, path: basePath + path })),
  );
  app.use(
    answering(deps, 'unknown', () => {
      throw new DomainError('not_found', 'There is nothing at this path.');
    }),
  );
  return { express: app, settled: () => background.settled() };
}

type Respond = (request: Request, exchange: Exchange) => Promise<Reply> | Reply;

/** Answers with what `respond` returns, or with the problem it throws; then one log line and one measurement. */
function answering(deps: Dependencies, route: string, respond: Respond, failureHeaders: Record<string, string> = {}) {
  return (request: Request, response: Response): void => {
    const exchange = beginExchange(request, route);
    response.once('close', () => record(deps, exchange, request, response));
    response.setHeader('X-Request-Id', exchange.requestId);
    Promise.resolve(exchange)
      .then((begun) => respond(request, begun))
      .catch((error: unknown) => toFailure(error, exchange, failureHeaders))
      .then((reply) => send(response, reply))
      .catch((error: unknown) => {
        exchange.error = error;
        response.destroy();
      });
  };
}

function toFailure(error: unknown, exchange: Exchange, headers: Record<string, string>): Reply {
  const problem = toProblem(error, exchange.requestId);
  exchange.errorCode = problem.code;
  if (problem.status >= 500) exchange.error = error;
  const retryAfter = retryAfterSeconds(error);
  return {
    status: problem.status,
    headers: {
      'Content-Type': 'application/problem+json; charset=utf-8',
      ...headers,
      ...(problem.status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
      ...(retryAfter === undefined ? {} : { 'Retry-After': String(retryAfter) }),
      ...auditHeader(exchange.auditEntryIds ?? []),
    },
    body: JSON.stringify(problem),
  };
}

function record({ log }: Dependencies, exchange: Exchange, request: Request, response: Response): void {
  const durationMs = Date.now() - exchange.startedAt.getTime();
  // the caller went away before an answer: nginx's number for it
  const status = response.writableFinished ? response.statusCode : 499;
  httpRequestSeconds.observe({ method: request.method, route: exchange.route, status }, durationMs / 1000);
  const { principal } = exchange;
  log[status >= 500 ? 'error' : 'info']('request', {
    method: request.method,
    route: exchange.route,
    status,
    durationMs,
    requestId: exchange.requestId,
    organizationId: principal?.organizationId,
    principal: principal && `${principal.type}:${principal.id}`,
    apiKeyId: principal?.apiKey.id,
    errorCode: exchange.errorCode,
    reason: exchange.reason,
    error: exchange.error,
  });
}

function mountProbes(app: Express, deps: Dependencies): void {
  app.get(
    '/healthz',
    answering(deps, '/healthz', async () => toJson(200, { status: 'ok' })),
  );
  app.get(
    '/readyz',
    answering(deps, '/readyz', async () => {
      const readiness = await deps.readiness();
      return toJson(readiness.ready ? 200 : 503, readiness);
    }),
  );
  app.get(
    '/metrics',
    answering(deps, '/metrics', async () => {
      const { contentType, body } = await renderMetrics();
      return { status: 200, headers: { 'Content-Type': contentType }, body };
    }),
  );
}

/** Both are made once, at the first request: the description of the API does not change while it runs. */
function mountDocs(app: Express, deps: Dependencies, endpoints: readonly Endpoint[]): void {
  let description: ReturnType<typeof describeApi> | undefined;
  const describe = () => (description ??= describeApi(endpoints));
  let page: string | undefined;
  app.get(
    `${basePath}/openapi.json`,
    answering(deps, `${basePath}/openapi.json`, async () => toJson(200, describe())),
  );
  app.get(
    `${basePath}/docs`,
    answering(deps, `${basePath}/docs`, async () => ({
      status: 200,
      headers: {
        'Content-Type': 'text/html; charset=utf-8',
        'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
      },
      body: (page ??= renderDocs(describe())),
    })),
  );
}

function mountRoutes(app: Express, { deps, background }: Server, routes: readonly Route[]): void {
  for (const { method, path, respond } of routes)
    app[method](
      expressPath(path),
      answering(deps, path, (request, exchange) => respond({ request, exchange, background })),
    );
  refuseOtherMethods(app, deps, routes);
}

/** Comes after what is mounted on the same paths. */
function refuseOtherMethods(app: Express, deps: Dependencies, mounted: ReadonlyArray<Pick<Route, 'path'> & { method: string }>): void {
  for (const [path, methods] of methodsByPath(mounted)) {
    const refuse = () => {
      throw new DomainError('method_not_allowed', `This takes ${methods}.`);
    };
    app.all(expressPath(path), answering(deps, path, refuse, { Allow: methods }));
  }
}

function toJson(status: number, body: unknown): Reply {
  return { status, headers: { 'Content-Type': 'application/json; charset=utf-8' }, body: JSON.stringify(body) };
}

function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

function methodsByPath(mounted: ReadonlyArray<{ path: string; method: string }>): Map<string, string> {
  const methods = new Map<string, string>();
  for (const { path, method } of mounted) {
    const before = methods.get(path);
    methods.set(path, before === undefined ? method.toUpperCase() : `${before}, ${method.toUpperCase()}`);
  }
  return methods;
}
