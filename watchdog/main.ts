/**
 * The watchdog alone (`npm run watchdog`): one acts, any others stand by. It needs PostgreSQL and the way out, nothing else: Temporal and the
 * workers are what it watches.
 */
import { egressOptions, readServerConfig } from '../config.ts';
import { createDestinations } from '../activities/destination.ts';
import { serveMetrics } from '../activities/metrics-server.ts';
import { holdLeadership } from '../db/leadership.ts';
import { openDatabase } from '../db/mikro-orm.config.ts';
import { createFactsCache } from '../db/queries/routing-facts.ts';
import { createSecretBox } from '../db/secrets.ts';
import { newId } from '../domain/id.ts';
import { createEgress } from '../egress/guard.ts';
import { tellSupervisor } from '../embedded/supervised.ts';
import { createLogger } from '../log.ts';
import { collectProcessMetrics } from '../metrics.ts';
import { runProcess } from '../run-process.ts';
import { connectLazily } from '../temporal/connection.ts';
import { createEscalationStarter } from '../temporal/escalation-starter.ts';
import { createHeartbeat } from './heartbeat.ts';
import { startWatchdog } from './watchdog.ts';

await runProcess(async ({ env }) => {
  const config = readServerConfig(env);
  const log = createLogger({ process: 'watchdog', level: config.logLevel });
  collectProcessMetrics();
  const { databaseUrl } = config;
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: 4, applicationName: 'tocsin_watchdog' });
  const relayOrm = await openDatabase({ databaseUrl, role: 'tocsin_relay', poolMax: 2, applicationName: 'tocsin_watchdog' });
  const leadership = holdLeadership({ databaseUrl, name: 'watchdog', log });
  const egress = createEgress({ ...egressOptions(config), log });
  const temporal = connectLazily(config.temporal);
  const publicUrl = `http://${config.host}:${config.port}`;
  const escalations = createEscalationStarter({ temporal, publicUrl, onFailed: (error) => log.warn('escalation.wake', { error }) });
  const watchdog = startWatchdog({
    orm,
    relayOrm,
    facts: createFactsCache(),
    destinations: createDestinations({ orm, secrets: createSecretBox(config.secretKeys), publicUrl }),
    egress,
    escalations,
    isLeader: async () => leadership.isHeld(),
    everyMs: config.watchdogEveryMs,
    nudgeAfterMs: config.watchdogNudgeMs,
    alarmAfterMs: config.watchdogAlarmMs,
    heartbeat: config.watchdogHeartbeatUrl === undefined ? undefined : createHeartbeat({ egress, url: config.watchdogHeartbeatUrl, log }),
    workerId: newId(Date.now()),
    log,
  });
  const metrics =
    config.metricsPort === undefined ? undefined : await serveMetrics(config.host, config.metricsPort, { isRunning: () => true });
  log.info('watching', { metricsUrl: metrics?.url });
  await tellSupervisor({ ready: true, apiUrl: '' });
  return async () => {
    await metrics?.stop();
    await watchdog.stop();
    await escalations.stop();
    await leadership.stop();
    await egress.close();
    await temporal.close();
    await Promise.all([orm.close(true), relayOrm.close(true)]);
  };
});
