import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHash, randomBytes } from 'node:crypto';
import type { MikroORM } from '@mikro-orm/postgresql';
import { createApp } from '../../api/app.ts';
import { createAuthentication } from '../../api/authentication.ts';
import type { ChangedDelivery, Dependencies, DestinationTest } from '../../api/dependencies.ts';
import type { Endpoint } from '../../api/endpoint.ts';
import { endpoints as allEndpoints } from '../../api/endpoints.ts';
import { createEscalationChanges } from '../../api/escalation-changes.ts';
import { createIntake } from '../../api/intake.ts';
import { ApiKeyEntity } from '../../db/entities/api-key.ts';
import { MemberEntity } from '../../db/entities/member.ts';
import { OrganizationEntity } from '../../db/entities/organization.ts';
import { createFeedSignal } from '../../db/feed-signal.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSecretBox } from '../../db/secrets.ts';
import { inOrganization } from '../../db/tenant.ts';
import { makeApiKey } from '../../domain/api-key.ts';
import { newId } from '../../domain/id.ts';
import { foldName } from '../../domain/name.ts';
import { permissions } from '../../domain/permission.ts';
import type { Permission, Role } from '../../domain/permission.ts';
import { createEgress } from '../../egress/guard.ts';
import type { LogFields } from '../../log.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { createTestDatabase } from '../support/servers.ts';

export interface TestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Parsed JSON; tests narrow it by what they assert. */
  readonly body: Record<string, any>; // oxlint-disable-line no-explicit-any -- answers are asserted, not typed
}

export interface RequestOptions {
  readonly key?: string;
  readonly body?: unknown;
  /** Sent instead of `body`, as it is. */
  readonly raw?: string | Uint8Array;
  readonly headers?: Record<string, string>;
}

export interface TestOrganization {
  readonly id: string;
  /** The owner's member id and API key. */
  readonly ownerId: string;
  readonly key: string;
}

export interface TestApi {
  readonly url: string;
  readonly orm: MikroORM;
  readonly databaseUrl: string;
  readonly logLines: LogFields[];
  readonly deps: Dependencies;
  /** What `wakeDelivery` was told. */
  readonly woken: ChangedDelivery[];
  /** Escalations whose workflow a request told to look again. */
  readonly announced: ChangedEscalation[];
  request(method: string, path: string, options?: RequestOptions): Promise<TestAnswer>;
  buildOrganization(name?: string): Promise<TestOrganization>;
  /** A member with a key of their own. */
  buildMember(organization: TestOrganization, role: Role): Promise<{ id: string; key: string }>;
  /** A key of the owner that holds just these permissions. */
  buildKey(organization: TestOrganization, held: readonly Permission[]): Promise<string>;
  stop(): Promise<void>;
}

export interface TestApiOptions {
  readonly deps?: Partial<Dependencies>;
  readonly endpoints?: readonly Endpoint[];
  /** Keys that a worker beside it shares. Default: one nobody else has. */
  readonly secretKeys?: Parameters<typeof createSecretBox>[0];
  /** Gets the committed deliveries. Default: nothing is sent. */
  readonly starter?: Parameters<typeof createIntake>[0]['starter'];
  /** Gets the escalations that changed. Default: nothing waits for them. */
  readonly escalations?: Parameters<typeof createIntake>[0]['escalations'];
  /** Gets the groups of notices whose plan changed. Default: nothing waits for them. */
  readonly groups?: Parameters<typeof createIntake>[0]['groups'];
}

const passedTest: DestinationTest = {
  success: true,
  statusCode: 204,
  errorCode: null,
  detail: null,
  durationMs: 3,
  remoteAddress: '127.0.0.1',
  requestHeaders: {},
  requestBody: '{}',
  responseHeaders: {},
  responseBody: '',
  responseTruncated: false,
};

/** The whole API over HTTP on a database of its own. Answers are checked against their documented schemas. */
export async function startApi(options: TestApiOptions = {}): Promise<TestApi> {
  const { deps: overrides = {}, endpoints = allEndpoints, starter = { offer: () => {} }, escalations = { wake: () => {} } } = options;
  const { groups = { wake: () => {} } } = options;
  const { secretKeys = [{ id: 'test', key: randomBytes(32) }] } = options;
  const database = await createTestDatabase();
  const { databaseUrl } = database;
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 8 });
  const logLines: LogFields[] = [];
  const note = (unit: string, fields: LogFields) => void logLines.push({ ...fields, line: unit });
  const log = { debug: note, info: note, warn: note, error: note };
  const secrets = createSecretBox(secretKeys);
  const woken: ChangedDelivery[] = [];
  const announced: ChangedEscalation[] = [];
  const announcing: typeof escalations = {
    wake(changed) {
      announced.push(...changed);
      escalations.wake(changed);
    },
  };
  const feeds = createFeedSignal({ orm, log });
  const egress = createEgress({ allow: ['127.0.0.1'], deniedTargets: [], requireHttps: false, now: Date.now, log });
  const deps: Dependencies = {
    orm,
    log,
    secrets,
    authentication: createAuthentication({ orm, log }),
    intake: createIntake({ escalations, feeds, groups, orm, secrets, starter }),
    destinations: egress,
    egress,
    minIntervalMs: 60_000,
    testDestination: async () => passedTest,
    feedChanged: (organizationId) => feeds.changed(organizationId),
    wakeSilence: () => {},
    wakeDelivery: async (delivery) => void woken.push(delivery),
    ...createEscalationChanges({ orm, starter, escalations: announcing, feeds }),
    readiness: async () => ({ ready: true, postgres: 'ok', temporal: 'ok' }),
    ...overrides,
  };
  const app = createApp({ ...deps, endpoints, verifyAnswers: true });
  const server = createServer(app.express);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function request(method: string, path: string, { key, body, raw, headers = {} }: RequestOptions = {}): Promise<TestAnswer> {
    const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(
      path.startsWith('/healthz') || path.startsWith('/readyz') || path.startsWith('/metrics') ? url + path : `${url}/api/v2${path}`,
      {
        method,
        headers: {
          ...(payload === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }),
          ...headers,
        },
        ...(payload === undefined ? {} : { body: payload }),
      },
    );
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, headers: response.headers, text, body: isJson ? (JSON.parse(text) as TestAnswer['body']) : {} };
  }

  async function addKey(organizationId: string, ownerId: string, held: readonly Permission[]): Promise<string> {
    const key = makeApiKey(randomBytes);
    await inOrganization(orm, organizationId, async (em) => {
      em.create(ApiKeyEntity, {
        id: newId(Date.now()),
        orgId: organizationId,
        name: 'test',
        ownerType: 'user',
        ownerId,
        keyHash: createHash('sha256').update(key).digest(),
        hint: key.slice(0, 8),
        permissions: [...held],
        createdAt: new Date(),
      });
    });
    return key;
  }

  async function addMember(organizationId: string, role: Role): Promise<string> {
    const now = new Date();
    const id = newId(now.getTime());
    const address = `${role}-${id}@example.com`;
    await inOrganization(orm, organizationId, async (em) => {
      em.create(MemberEntity, {
        id,
        orgId: organizationId,
        email: address,
        emailKey: foldName(address),
        name: role,
        role,
        personas: [],
        status: 'active',
        version: 1,
        createdAt: now,
        updatedAt: now,
      });
    });
    return id;
  }

  return {
    url,
    orm,
    databaseUrl,
    logLines,
    deps,
    woken,
    announced,
    request,
    async buildOrganization(name = 'Test') {
      const now = new Date();
      const id = newId(now.getTime());
      await inOrganization(orm, id, async (em) => {
        em.create(OrganizationEntity, { id, name, settings: {}, version: 1, createdAt: now, updatedAt: now });
      });
      const ownerId = await addMember(id, 'owner');
      return { id, ownerId, key: await addKey(id, ownerId, permissions) };
    },
    async buildMember(organization, role) {
      const id = await addMember(organization.id, role);
      return { id, key: await addKey(organization.id, id, permissions) };
    },
    buildKey: (organization, held) => addKey(organization.id, organization.ownerId, held),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await app.settled();
      await feeds.stop();
      await egress.close();
      await orm.close(true);
      await database.drop();
    },
  };
}
