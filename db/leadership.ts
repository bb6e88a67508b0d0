import { Client } from 'pg';
import type { Logger } from '../log.ts';

export interface Leadership {
  /** Whether this process acts, of those that hold on to the same name; asks the database. */
  isHeld(): Promise<boolean>;
  stop(): Promise<void>;
}

/**
 * One of several processes, chosen by a session advisory lock on a connection of its own: whoever loses the connection loses the lock, and
 * another takes over with its next question.
 */
export function holdLeadership({ databaseUrl, name, log }: { databaseUrl: string; name: string; log: Logger }): Leadership {
  let client: Client | undefined;
  const drop = async (): Promise<void> => {
    const lost = client;
    client = undefined;
    await lost?.end().catch(() => {});
  };
  return {
    async isHeld() {
      try {
        if (client === undefined) {
          client = new Client({
            connectionString: databaseUrl,
            application_name: 'tocsin_leadership',
            connectionTimeoutMillis: 2_000,
            query_timeout: 2_000,
          });
          // A dropped connection is noticed by the next question; without a listener it would end the process.
          client.on('error', () => {});
          await client.connect();
        }
        // Taken again each time: a session may hold it many times over, so what it holds already is asked for first.
        const { rows } = await client.query<{ held: boolean }>(
          `select exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and granted)
             or pg_try_advisory_lock(hashtextextended($1, 0)) as held`,
          [`tocsin ${name}`],
        );
        return rows[0]!.held;
      } catch (error) {
        log.warn('leadership', { error, name });
        await drop();
        return false;
      }
    },
    stop: drop,
  };
}
