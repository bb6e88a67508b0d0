import { Client } from 'pg';
import type { Logger } from '../log.ts';

export interface WorkerLeaseOptions {
  databaseUrl: string;
  workerId: string;
  /** Names the data directory whose lock this process's supervisor holds: only one worker of it can be alive, so its predecessor is dead. */
  instance?: string | undefined;
  log: Logger;
}

export interface WorkerLease {
  stop(): Promise<void>;
}

const renewEveryMs = 1_000;

/**
 * Says each second that this worker is alive, on a connection of its own, so that a busy pool cannot make it look dead. A worker unrenewed
 * for 5 s is taken for dead and what it had begun is closed as interrupted. The lease stands before this returns.
 */
export async function holdWorkerLease({ databaseUrl, workerId, instance, log }: WorkerLeaseOptions): Promise<WorkerLease> {
  let client = await connect(databaseUrl);
  await client.query(`update worker_lease set renewed_at = '-infinity' where instance = $1 and worker_id <> $2`, [
    instance ?? null,
    workerId,
  ]);
  await renew(client, workerId, instance);
  let stopped = false;
  let timer: NodeJS.Timeout;

  const round = async (): Promise<void> => {
    try {
      await renew(client, workerId, instance);
    } catch (error) {
      log.warn('worker.lease', { error, workerId });
      await client.end().catch(() => {});
      await connect(databaseUrl).then(
        (fresh) => (client = fresh),
        () => {},
      );
    }
    schedule();
  };
  const schedule = (): void => {
    if (!stopped) timer = setTimeout(() => void round(), renewEveryMs);
  };
  schedule();

  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      // What is still unfinished will not be finished by this process; the relay of another closes it and forgets the lease.
      await client.query(`update worker_lease set renewed_at = '-infinity' where worker_id = $1`, [workerId]).catch(() => {});
      await client.end().catch(() => {});
    },
  };
}

async function connect(databaseUrl: string): Promise<Client> {
  const client = new Client({
    connectionString: databaseUrl,
    application_name: 'tocsin_lease',
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_000,
  });
  // A dropped connection is noticed by the next renewal; without a listener it would end the process.
  client.on('error', () => {});
  await client.connect();
  await client.query('set role tocsin_relay');
  return client;
}

async function renew(client: Client, workerId: string, instance: string | undefined): Promise<void> {
  await client.query(
    `insert into worker_lease (worker_id, instance, started_at, renewed_at) values ($1, $2, now(), now())
       on conflict (worker_id) do update set renewed_at = now()`,
    [workerId, instance ?? null],
  );
}
