import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import type { Role } from '../../domain/permission.ts';

export interface Broadcast {
  /** UUIDs. */
  readonly id: string;
  readonly subject: string;
  readonly message: string | null;
  /** Null: every role. */
  readonly role: Role | null;
  /** What it is about; null: nothing in particular. */
  readonly projectId: string | null;
  readonly at: Date;
  readonly shownUntil: Date;
}

/** One row, however many members read it. */
export async function insertBroadcast(em: EntityManager, organizationId: string, broadcast: Broadcast): Promise<void> {
  const { id, subject, message, role, projectId, at, shownUntil } = broadcast;
  await sql`
    insert into notification (org_id, id, type, feed, severity, subject, message, audience_role, project_id, shown_until, created_at)
      values (${organizationId}, ${id}, 'notification.broadcast', 'system', 'info', ${subject}, ${message}, ${role}, ${projectId},
        ${shownUntil}, ${at})`.execute(em.getKysely());
}
