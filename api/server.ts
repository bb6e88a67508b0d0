import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { egressOptions, type ServerConfig } from '../config.ts';
import { openDatabase, pendingMigrations } from '../db/mikro-orm.config.ts';
import { createSecretBox } from '../db/secrets.ts';
import { createFeedSignal } from '../db/feed-signal.ts';
import { createEgress } from '../egress/guard.ts';
import type { Logger } from '../log.ts';
import type { TemporalClient } from '../temporal/connection.ts';
import { runDestinationTest } from '../temporal/destination-test.ts';
import { wakeRun } from '../temporal/wake.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { GroupStarter } from '../temporal/group-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import type { SilenceStarter } from '../temporal/silence-starter.ts';
import { createApp } from './app.ts';
import { createAuthentication } from './authentication.ts';
import type { DestinationTest, Readiness } from './dependencies.ts';
import { endpoints } from './endpoints.ts';
import { createEscalationChanges } from './escalation-changes.ts';
import { createIntake } from './intake.ts';
import { createGateway } from './stream/gateway.ts';

export interface ApiOptions {
  config: ServerConfig;
  log: Logger;
  temporal: TemporalClient;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  silences: Pick<SilenceStarter, 'wake'>;
  groups: Pick<GroupStarter, 'wake'>;
}

export interface RunningApi {
  /** `http://host:port` */
  url: string;
  /** Takes no new requests, answers those under way, closes its pool. */
  stop(): Promise<void>;
}

const poolMax = 12;
const probeMs = 1_000;
const stopMs = 10_000;
const sweepMs = 50;

/** Listens, and returns when requests are answered. @throws one clear sentence when the port is taken. */
export async function startApi({ config, log, temporal, starter, escalations, silences, groups }: ApiOptions): Promise<RunningApi> {
  const orm = await openDatabase({ databaseUrl: config.databaseUrl, role: 'tocsin_app', poolMax, applicationName: 'tocsin_api' });
  const secrets = createSecretBox(config.secretKeys);
  const feeds = createFeedSignal({ orm, log });
  // Judges addresses when they are saved; the worker judges again when it sends.
  const egress = createEgress({ ...egressOptions(config), log });
  const authentication = createAuthentication({ orm, log });
  const app = createApp({
    orm,
    secrets,
    log,
    destinations: egress,
    egress,
    minIntervalMs: config.minIntervalMs,
    testDestination: async ({ organizationId, kind, id, channelType }) =>
      runDestinationTest<DestinationTest>(temporal, orm, { organizationId, kind, destinationId: id, channelType }),
    wakeDelivery: async (delivery) => {
      if (delivery.runId === null) starter.offer([delivery]);
      else await wakeRun(temporal, delivery.runId);
    },
    feedChanged: (organizationId) => feeds.changed(organizationId),
    wakeSilence: (silence) => silences.wake([silence]),
    ...createEscalationChanges({ orm, starter, escalations, feeds }),
    authentication,
    intake: createIntake({ orm, secrets, starter, escalations, groups, feeds }),
    endpoints,
    readiness,
  });
  const server = createServer(app.express);
  const { databaseUrl, streamOrigins: origins } = config;
  const gateway = createGateway({ orm, secrets, log, authentication, databaseUrl, feeds, origins, now: Date.now });
  server.on('upgrade', (request, socket, head) => gateway.upgrade(request, socket, head));
  // Longer than load balancers keep an idle connection, so that they never send into one that closes.
  server.keepAliveTimeout = 75_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      reject(taken ? new Error(`Port ${config.port} on ${config.host} is taken; set TOCSIN_PORT to another one, or to 0 for any.`) : error);
    });
    server.listen(config.port, config.host, resolve);
  });
  const { port } = server.address() as AddressInfo;

  async function readiness(): Promise<Readiness> {
    const [postgres, temporalState] = await Promise.all([probePostgres(), probeTemporal()]);
    return { ready: postgres === 'ok', postgres, temporal: temporalState };
  }
  async function probePostgres(): Promise<Readiness['postgres']> {
    try {
      return (await pendingMigrations(orm)).length === 0 ? 'ok' : 'not_migrated';
    } catch {
      return 'unreachable';
    }
  }
  async function probeTemporal(): Promise<Readiness['temporal']> {
    try {
      await temporal.withDeadline(probeMs, async () => temporal.client.workflowService.getSystemInfo({}));
      return 'ok';
    } catch {
      return 'unreachable';
    }
  }

  return {
    url: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // A connection that was busy a moment ago stays open for the client's next request; it is closed when it has been answered.
      server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'));
      server.closeIdleConnections();
      await gateway.stop();
      const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
      const timer = setTimeout(() => server.closeAllConnections(), stopMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(timer);
      await app.settled();
      await feeds.stop();
      await egress.close();
      await orm.close(true);
    },
  };
}
