/** The API alone (`npm run api`), any number of them on one database. A worker's relay starts what this process could not. */
import { readServerConfig } from '../config.ts';
import { openDatabase } from '../db/mikro-orm.config.ts';
import { runProcess } from '../run-process.ts';
import { createLogger } from '../log.ts';
import { collectProcessMetrics } from '../metrics.ts';
import { connectLazily } from '../temporal/connection.ts';
import { createEscalationStarter, type EscalationStarter } from '../temporal/escalation-starter.ts';
import { createRunStarter, type RunStarter } from '../temporal/run-starter.ts';
import { createGroupStarter, type GroupStarter } from '../temporal/group-starter.ts';
import { createSilenceStarter, type SilenceStarter } from '../temporal/silence-starter.ts';
import { startApi } from './server.ts';

await runProcess(async ({ env }) => {
  const config = readServerConfig(env);
  const log = createLogger({ process: 'api', level: config.logLevel });
  collectProcessMetrics();
  const temporal = connectLazily(config.temporal);
  // Starting runs must not wait for the connections that requests hold.
  const orm = await openDatabase({
    databaseUrl: config.databaseUrl,
    role: 'tocsin_app',
    poolMax: 4,
    applicationName: 'tocsin_api_starter',
  });

  // Links in workflows name the address, which is known once a free port was found; the relay starts what is posted before that.
  const late: { starter?: RunStarter; escalations?: EscalationStarter; silences?: SilenceStarter; groups?: GroupStarter } = {};
  const api = await startApi({
    config,
    log,
    temporal,
    starter: { offer: (deliveries) => late.starter?.offer(deliveries) },
    escalations: { wake: (changed) => late.escalations?.wake(changed) },
    silences: { wake: (changed) => late.silences?.wake(changed) },
    groups: { wake: (changed) => late.groups?.wake(changed) },
  });
  late.starter = createRunStarter({
    temporal,
    orm,
    maxRunSize: config.deliveryRunMax,
    publicUrl: api.url,
    onFailed: (error) => log.warn('run.start', { error }),
  });
  late.escalations = createEscalationStarter({
    temporal,
    publicUrl: api.url,
    onFailed: (error) => log.warn('escalation.wake', { error }),
  });
  late.silences = createSilenceStarter({ temporal, publicUrl: api.url, onFailed: (error) => log.warn('silence.wake', { error }) });
  late.groups = createGroupStarter({ temporal, onFailed: (error) => log.warn('group.wake', { error }) });
  log.info('listening', { url: api.url });

  return async () => {
    await api.stop();
    await late.starter?.stop();
    await late.escalations?.stop();
    await late.silences?.stop();
    await late.groups?.stop();
    await temporal.close();
    await orm.close(true);
  };
});
