import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { appendAudit } from '../../db/audit-log.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSequencer, type Sequencer } from '../../db/sequencer.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { AuditDraft } from '../../domain/audit/draft.ts';
import type { LogFields } from '../../log.ts';
import { createTestDatabase } from '../support/servers.ts';

export const ours = '11111111-1111-4111-8111-111111111111';
export const theirs = '22222222-2222-4222-8222-222222222222';

/** A draft that is valid as it is. */
export function buildDraft(overrides: Partial<AuditDraft> = {}): AuditDraft {
  return {
    orgId: ours,
    action: 'webhook.update',
    actor: { type: 'user', id: '0198c0de-0000-7000-8000-00000000000a', email: 'ada@example.com' },
    resource: { type: 'webhook', id: '0198c0de-0000-7000-8000-00000000000b', name: 'Deploys' },
    ip: '192.0.2.1',
    before: { active: true },
    after: { active: false },
    ...overrides,
  };
}

/** A migrated database of its own, seen as the application, as the sequencer and as its superuser. */
export interface AuditDatabase {
  readonly databaseUrl: string;
  readonly app: MikroORM;
  readonly sequencerOrm: MikroORM;
  /** The superuser, who also owns the tables. */
  readonly owner: pg.Client;
  readonly logLines: LogFields[];
  /** Appends, in one transaction of the drafts' organization. */
  append(...drafts: AuditDraft[]): Promise<string[]>;
  startSequencer(): Sequencer;
  /** Sequences whatever is committed. */
  drain(): Promise<void>;
  /** Rows as the superuser sees them. */
  query<T extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]>;
  /** Runs statements with every trigger off, as a superuser who covers their tracks. */
  tamper(text: string, values?: unknown[]): Promise<void>;
  close(): Promise<void>;
}

export async function openAuditDatabase(poolMax = 8): Promise<AuditDatabase> {
  const created = await createTestDatabase();
  const { databaseUrl } = created;
  const app = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax });
  const sequencerOrms = [await openDatabase({ databaseUrl, role: 'tocsin_sequencer', poolMax: 3 })];
  const owner = new pg.Client({ connectionString: databaseUrl });
  await owner.connect();
  const logLines: LogFields[] = [];
  const note = (unit: string, fields: LogFields) => void logLines.push({ ...fields, line: unit });
  const log = { debug: note, info: note, warn: note, error: note };
  const sequencers: Sequencer[] = [];
  const query = async <T extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]> =>
    (await owner.query<T>(text, values)).rows;

  const database: AuditDatabase = {
    databaseUrl,
    app,
    sequencerOrm: sequencerOrms[0]!,
    owner,
    logLines,
    append: (...drafts) => inOrganization(app, drafts[0]!.orgId, (em) => appendAudit(em, drafts)),
    startSequencer() {
      const sequencer = createSequencer({ orm: sequencerOrms[0]!, log });
      sequencers.push(sequencer);
      sequencer.start();
      return sequencer;
    },
    async drain() {
      const sequencer = this.startSequencer();
      const waiting = `select count(*)::int as waiting from audit.pending where org_id <> all($1::uuid[])`;
      while ((await query<{ waiting: number }>(waiting, [sequencer.refused()]))[0]!.waiting > 0)
        await new Promise((done) => setTimeout(done, 20));
      await sequencer.stop();
    },
    query,
    async tamper(text, values) {
      await owner.query(`set session_replication_role = 'replica'`);
      try {
        await owner.query(text, values);
      } finally {
        await owner.query(`set session_replication_role = 'origin'`);
      }
    },
    async close() {
      await Promise.all(sequencers.map((sequencer) => sequencer.stop()));
      await owner.end();
      await Promise.all([app, ...sequencerOrms].map((orm) => orm.close(true)));
      await created.drop();
    },
  };
  return database;
}
