/** A worker alone (`npm run worker`), any number of them on one database and one Temporal namespace. */
import { readServerConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { collectProcessMetrics } from '../metrics.ts';
import { runProcess } from '../run-process.ts';
import { connectWorker, installRuntime } from '../temporal/runtime.ts';
import { serveMetrics } from './metrics-server.ts';
import { startWorkerProcess } from './worker-process.ts';

await runProcess(async ({ env, stopping, fail }) => {
  const config = readServerConfig(env);
  const log = createLogger({ process: 'worker', level: config.logLevel });
  collectProcessMetrics();
  installRuntime(log);
  const connection = await connectWorker({ ...config.temporal, log, signal: stopping });
  const worker = await startWorkerProcess({ config, connection, log, publicUrl: `http://${config.host}:${config.port}` });
  worker.failed.catch(fail);
  const metrics = config.metricsPort === undefined ? undefined : await serveMetrics(config.host, config.metricsPort, worker);
  log.info('working', { metricsUrl: metrics?.url });
  return async () => {
    await metrics?.stop();
    await worker.stop();
    await connection.close();
  };
});
