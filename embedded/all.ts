/**
 * API and worker in one process: what `npm start` supervises. They share one connection to Temporal, so that a delivery's workflow may run
 * its first task right where the event was posted.
 */
import { startApi } from '../api/server.ts';
import { startWorkerProcess, type WorkerProcess } from '../activities/worker-process.ts';
import { readServerConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { collectProcessMetrics } from '../metrics.ts';
import { connectLazily } from '../temporal/connection.ts';
import { connectWorker, installRuntime } from '../temporal/runtime.ts';
import { runProcess } from '../run-process.ts';
import { tellSupervisor } from './supervised.ts';

await runProcess(async ({ env, stopping, fail }) => {
  const config = readServerConfig(env);
  const log = createLogger({ process: 'tocsin', level: config.logLevel });
  collectProcessMetrics();
  installRuntime(log);
  const { address, namespace } = config.temporal;

  // The API answers whether or not Temporal does: what is posted before the worker is up is committed, and started by its relay.
  let worker: WorkerProcess | undefined;
  const temporal = connectLazily({ address, namespace });
  const api = await startApi({
    config,
    log,
    temporal,
    starter: { offer: (deliveries) => worker?.starter.offer(deliveries) },
    escalations: { wake: (changed) => worker?.escalations.wake(changed) },
    silences: { wake: (changed) => worker?.silences.wake(changed) },
    groups: { wake: (changed) => worker?.groups.wake(changed) },
  });
  const working = connectWorker({ address, namespace, log, signal: stopping }).then(async (connection) => {
    worker = await startWorkerProcess({ config, connection, log, publicUrl: api.url });
    worker.failed.catch(fail);
    return connection;
  });
  working.then(
    () => tellSupervisor({ ready: true, apiUrl: api.url }),
    (error: unknown) => fail(error),
  );

  return async () => {
    await api.stop();
    const connection = await working.catch(() => undefined);
    await worker?.stop();
    await connection?.close();
    await temporal.close();
  };
});
