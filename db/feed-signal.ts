import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { Client } from 'pg';
import type { Logger } from '../log.ts';

const channel = 'tocsin_feed';
/** A notification of PostgreSQL holds less than 8,000 bytes. */
const organizationsPerSignal = 200;

export interface FeedSignal {
  /** Tells every process, soon, that feeds of the organization (UUID) or marks on them have changed; to be called after the commit. */
  changed(organizationId: string): void;
  /** Sends what is left. */
  stop(): Promise<void>;
}

/**
 * At most one signal per `everyMs` and process, outside of any transaction that writes items: PostgreSQL queues signals one after the other,
 * and what accepts events must not wait in that queue. One that is lost is made up for by whoever reads anew every few seconds.
 */
export function createFeedSignal({ orm, log, everyMs = 50 }: { orm: MikroORM; log: Logger; everyMs?: number }): FeedSignal {
  const waiting = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let sending = Promise.resolve();

  const send = async (): Promise<void> => {
    timer = undefined;
    const all = [...waiting];
    waiting.clear();
    const payloads: string[] = [];
    for (let at = 0; at < all.length; at += organizationsPerSignal) payloads.push(all.slice(at, at + organizationsPerSignal).join());
    try {
      await sql`select pg_notify(${channel}, payload) from unnest(${payloads}::text[]) as payload`.execute(orm.em.fork().getKysely());
    } catch (error) {
      log.warn('feed.signal', { error });
    }
  };

  return {
    changed(organizationId) {
      waiting.add(organizationId);
      timer ??= setTimeout(() => {
        sending = sending.then(send);
      }, everyMs);
    },
    async stop() {
      clearTimeout(timer);
      await sending;
      if (waiting.size > 0) await send();
    },
  };
}

export interface FeedListener {
  stop(): Promise<void>;
}

const reconnectMs = 1_000;

/**
 * Hears what `createFeedSignal` says, in any process, on a connection of its own that is made anew when it is lost.
 * @param onChanged gets the organization; undefined: signals may have been lost, any may have changed
 */
export function listenToFeeds({
  databaseUrl,
  log,
  onChanged,
}: {
  databaseUrl: string;
  log: Logger;
  onChanged: (organizationId: string | undefined) => void;
}): FeedListener {
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const connect = async (): Promise<void> => {
    const next = new Client({
      connectionString: databaseUrl,
      application_name: 'tocsin_feed',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
      options: '-c role=tocsin_app',
    });
    client = next;
    next.on('notification', ({ payload }) => payload?.split(',').forEach((organizationId) => onChanged(organizationId)));
    next.on('error', (error) => again(next, error));
    next.on('end', () => again(next));
    try {
      await next.connect();
      await next.query(`listen ${channel}`);
      onChanged(undefined);
    } catch (error) {
      again(next, error);
    }
  };

  /** A connection says more than once that it is lost. */
  const again = (lost: Client, error?: unknown): void => {
    if (stopped || client !== lost) return;
    client = undefined;
    log.warn('feed.listen', { error });
    lost.end().catch(() => {});
    timer = setTimeout(() => void connect(), reconnectMs);
  };

  void connect();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
