import type { Pool, PoolClient } from 'pg';

/** Long enough for whoever holds the connection to see the error and give it back by itself. */
const graceMs = 1_000;

/**
 * Gives connections that the server cut back to their pool. A transaction whose begin, commit or rollback fails never returns its
 * connection (Kysely 0.29 releases only after they succeed), so without this each restart of PostgreSQL would cost a pool as many
 * connections as it had transactions open, until it waits for ever.
 */
export function releaseDeadConnections(pool: Pool): void {
  const held = new Set<PoolClient>();
  pool.on('acquire', (client) => held.add(client));
  pool.on('release', (_error, client) => held.delete(client));
  pool.on('connect', (client) => {
    client.once('end', () => {
      setTimeout(() => {
        if (held.has(client)) client.release(true);
      }, graceMs).unref();
    });
  });
}
