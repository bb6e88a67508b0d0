import { type EntityManager, IsolationLevel, type MikroORM } from '@mikro-orm/postgresql';

/**
 * Runs `work` in one transaction that sees and writes only this organization's rows: row-level security reads `app.org_id`, which lives
 * exactly as long as the transaction.
 * @param organizationId UUID
 */
export async function inOrganization<T>(orm: MikroORM, organizationId: string, work: (em: EntityManager) => Promise<T>): Promise<T> {
  return orm.em.fork({ session: { variables: { 'app.org_id': organizationId } } }).transactional(work);
}

/** Like `inOrganization`, of one instant: whatever commits meanwhile is not seen. Nothing can be written. */
export async function readInOrganization<T>(orm: MikroORM, organizationId: string, work: (em: EntityManager) => Promise<T>): Promise<T> {
  return orm.em
    .fork({ session: { variables: { 'app.org_id': organizationId } } })
    .transactional(work, { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true });
}
