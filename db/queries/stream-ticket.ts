import { createHash } from 'node:crypto';
import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';

/** Keeps a ticket, of which only the hash is stored. @param keyHash SHA-256 (hex) of the API key that asked for it */
export async function insertTicket(
  em: EntityManager,
  organizationId: string,
  { ticket, keyHash, expiresAt }: { ticket: string; keyHash: string; expiresAt: Date },
): Promise<void> {
  await sql`insert into stream_ticket (hash, org_id, key_hash, expires_at)
    values (${hashOf(ticket)}, ${organizationId}, ${Buffer.from(keyHash, 'hex')}, ${expiresAt})`.execute(em.getKysely());
}

/** Uses a ticket up. @returns the key's SHA-256 (hex); undefined: unknown, used before or too old */
export async function redeemTicket(orm: MikroORM, ticket: string, now: Date): Promise<string | undefined> {
  const { rows } = await sql<{ keyHash: string | null }>`
    select encode(redeem_stream_ticket(${hashOf(ticket)}, ${now}), 'hex') as "keyHash"`.execute(orm.em.fork().getKysely());
  return rows[0]?.keyHash ?? undefined;
}

function hashOf(ticket: string): Buffer {
  return createHash('sha256').update(ticket).digest();
}
