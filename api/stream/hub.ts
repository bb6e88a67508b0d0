import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { type FeedChanges, type FeedPoint, readFeedChanges } from '../../db/queries/feed-changes.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { Logger } from '../../log.ts';

/** Gets what has changed since the organization's feeds were read before; `before`: until where that was. */
export type Deliver = (em: EntityManager, organizationId: string, changes: FeedChanges, before: FeedPoint) => Promise<void>;

export interface Hub {
  /** Has the organization's feeds read from now on. @returns up to where nothing will be delivered any more */
  watch(organizationId: string): Promise<FeedPoint>;
  unwatch(organizationId: string): void;
  /** Something may have changed, in any organization when none is given. */
  changed(organizationId: string | undefined): void;
  stop(): Promise<void>;
}

interface Watched {
  /** As it was last read. */
  last: { snapshot: string; point: FeedPoint } | undefined;
  reading: Promise<void> | undefined;
  /** Something changed since the reading under way began. */
  again: boolean;
}

/**
 * Reads what changed in the organizations that somebody is connected from: when a signal says so, and every few seconds in case one was lost.
 * An organization is read once however many connections wait for it, and never twice at a time: under load each reading finds more.
 */
export function createHub({ orm, log, deliver, everyMs = 5_000 }: { orm: MikroORM; log: Logger; deliver: Deliver; everyMs?: number }): Hub {
  const watched = new Map<string, Watched>();

  const read = async (organizationId: string, one: Watched): Promise<void> => {
    await inOrganization(orm, organizationId, async (em) => {
      const changes = await readFeedChanges(em, organizationId, one.last?.snapshot);
      const before = one.last?.point;
      const { items, marks, watermarks } = changes;
      if (before !== undefined && items.length + marks.length + watermarks.length > 0) await deliver(em, organizationId, changes, before);
      one.last = { snapshot: changes.snapshot, point: changes.point };
    });
  };

  /** What fails is read again with the next signal or the next round, from where the last reading ended. */
  const keepReading = async (organizationId: string, one: Watched): Promise<void> => {
    do {
      one.again = false;
      try {
        await read(organizationId, one);
      } catch (error) {
        log.warn('feed.read', { organizationId, error });
      }
    } while (one.again && watched.get(organizationId) === one);
    one.reading = undefined;
  };

  const begin = (organizationId: string, one: Watched): void => {
    one.again = true;
    one.reading ??= keepReading(organizationId, one);
  };

  const changed: Hub['changed'] = (organizationId) => {
    if (organizationId === undefined) for (const [id, one] of watched) begin(id, one);
    else {
      const one = watched.get(organizationId);
      if (one !== undefined) begin(organizationId, one);
    }
  };
  const rounds = setInterval(() => changed(undefined), everyMs);

  return {
    async watch(organizationId) {
      let one = watched.get(organizationId);
      if (one === undefined) watched.set(organizationId, (one = { last: undefined, reading: undefined, again: false }));
      if (one.last === undefined) {
        one.reading ??= keepReading(organizationId, one);
        await one.reading;
      }
      if (one.last === undefined) throw new Error('The feeds cannot be read.');
      return one.last.point;
    },
    unwatch: (organizationId) => void watched.delete(organizationId),
    changed,
    async stop() {
      clearInterval(rounds);
      const reading = [...watched.values()].map(async (one) => one.reading);
      watched.clear();
      await Promise.all(reading);
    },
  };
}
