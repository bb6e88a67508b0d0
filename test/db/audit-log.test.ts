import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { appendAudit } from '../../db/audit-log.ts';
import { inOrganization } from '../../db/tenant.ts';
import { decodeEnvelope } from '../../domain/audit/envelope.ts';
import { readDisclosure } from '../../domain/audit/commitment.ts';
import { idTimeMs } from '../../domain/id.ts';
import { type AuditDatabase, buildDraft, openAuditDatabase, ours, theirs } from './audit-database.ts';

let database: AuditDatabase;
beforeAll(async () => {
  database = await openAuditDatabase();
});
afterAll(() => database.close());

test('an entry is stored as its bytes, with columns, private values and a place in the queue', async () => {
  const [id] = await database.append(buildDraft({ details: { note: 'quote " and \\ backslash' } }));
  const [row] = await database.query<Record<string, unknown> & { canonical: Buffer; leaf_hash: Buffer; recorded_at: Date }>(
    'select * from audit.entry where id = $1',
    [id],
  );
  expect(row).toMatchObject({ org_id: ours, action: 'webhook.update', verb: 'update', category: 'integrations', changed: ['active'] });
  expect(row!.recorded_at.getTime()).toBe(idTimeMs(id!));
  expect(JSON.parse(row!.canonical.toString())).toMatchObject({ id, orgId: ours, action: 'webhook.update' });
  expect(row!.leaf_hash).toEqual(
    createHash('sha256')
      .update(Buffer.concat([Buffer.alloc(1), row!.canonical]))
      .digest(),
  );
  const [side] = await database.query<{ subject_ids: string[]; dek_versions: number[]; envelopes: Buffer[] }>(
    'select * from audit.entry_private where id = $1',
    [id],
  );
  expect(side!.dek_versions).toEqual([0, 0]);
  expect(side!.subject_ids[0]).toBe('0198c0de-0000-7000-8000-00000000000a');
  expect(side!.subject_ids[1]).toMatch(/^org:\d{6}$/);
  const values = side!.envelopes.flatMap((envelope) => decodeEnvelope(envelope)!.map((one) => readDisclosure(one)!));
  expect(values).toEqual([
    { name: 'actor.email', value: 'ada@example.com' },
    { name: 'ip', value: '192.0.2.1' },
    { name: 'after', value: { active: false } },
    { name: 'before', value: { active: true } },
    { name: 'details', value: { note: 'quote " and \\ backslash' } },
    { name: 'diff', value: [{ op: 'replace', path: '/active', before: true, after: false }] },
  ]);
  expect(await database.query('select 1 from audit.pending where entry_id = $1', [id])).toHaveLength(1);
});

test('many entries go in one statement, in the order of the drafts', async () => {
  const ids = await database.append(...Array.from({ length: 500 }, (_, i) => buildDraft({ details: { i } })));
  expect(new Set(ids).size).toBe(500);
  const queued = await database.query<{ entry_id: string }>('select entry_id from audit.pending where entry_id = any($1) order by pid', [
    ids,
  ]);
  expect(queued.map(({ entry_id: id }) => id)).toEqual(ids);
});

test('an entry without private values has no side row', async () => {
  const [id] = await database.append(
    buildDraft({ actor: { type: 'system', id: 'system', subsystem: 'relay' }, ip: undefined, before: undefined, after: undefined }),
  );
  expect(await database.query('select 1 from audit.entry_private where id = $1', [id])).toEqual([]);
});

test('a control entry is kept twice', async () => {
  const [id] = await database.append(buildDraft({ action: 'legal_hold.place' }));
  const [copy] = await database.query(
    'select 1 from audit.control join audit.entry using (id, org_id, recorded_at, canonical, leaf_hash) where id = $1',
    [id],
  );
  expect(copy).toBeDefined();
});

test('what is rolled back leaves no entry, and an entry that fails takes the change with it', async () => {
  const count = async () => (await database.query<{ n: number }>('select count(*)::int as n from audit.entry'))[0]!.n;
  const projects = async () => (await database.query<{ n: number }>(`select count(*)::int as n from idempotency`))[0]!.n;
  const before = await count();
  const change = sql`insert into idempotency (org_id, principal_id, key, request_hash, created_at) values (${ours}, ${ours}, 'k', 'x', now())`;
  await expect(
    inOrganization(database.app, ours, async (em) => {
      await appendAudit(em, [buildDraft()]);
      throw new Error('the mutation failed');
    }),
  ).rejects.toThrow('the mutation failed');
  await expect(
    inOrganization(database.app, ours, async (em) => {
      await change.execute(em.getKysely());
      await appendAudit(em, [buildDraft(), buildDraft({ action: 'not an action' })]);
    }),
  ).rejects.toThrow('audit entry: action: format');
  // the month has no partition: the log is closed, and so is everything that must be logged
  await database.owner.query('alter table audit.entry rename to entry_away');
  await expect(
    inOrganization(database.app, ours, async (em) => {
      await change.execute(em.getKysely());
      await appendAudit(em, [buildDraft()]);
    }),
  ).rejects.toThrow();
  await database.owner.query('alter table audit.entry_away rename to entry');
  expect(await count()).toBe(before);
  expect(await projects()).toBe(0);
});

const changes: Array<[table: string, statement: string]> = ['entry', 'entry_private', 'control', 'leaf', 'tile', 'tree'].flatMap(
  (table): Array<[string, string]> => [
    [table, `update audit.${table} set org_id = org_id`],
    [table, `delete from audit.${table}`],
    [table, `truncate audit.${table}`],
  ],
);

test.each(changes)('as the application, %s: %s is denied', async (_table, statement) => {
  await expect(inOrganization(database.app, ours, (em) => sql.raw(statement).execute(em.getKysely()))).rejects.toThrow(/permission denied/);
});

test.each(changes.filter(([, statement]) => !/^update audit\.(?:tile|tree)/.test(statement)))(
  'even as the owner, %s: %s is refused',
  async (_table, statement) => {
    await database.append(buildDraft({ action: 'legal_hold.place' }));
    await database.drain();
    await database.append(...Array.from({ length: 256 }, () => buildDraft()));
    await database.drain();
    await expect(database.owner.query(statement)).rejects.toThrow(/append-only: \w+ is refused/);
  },
);

test('a partition is guarded like its parent', async () => {
  const [{ name } = { name: '' }] = await database.query<{ name: string }>(`select min(tableoid::regclass::text) as name from audit.entry`);
  expect(name).toMatch(/^audit\.entry_\d{4}_\d\d$/);
  for (const statement of [`update ${name} set action = 'x.y'`, `delete from ${name}`, `truncate ${name}`]) {
    await expect(database.owner.query(statement)).rejects.toThrow('append-only');
  }
  await expect(inOrganization(database.app, ours, (em) => sql.raw(`select * from ${name}`).execute(em.getKysely()))).rejects.toThrow(
    'permission denied',
  );
});

test('trees and tiles only grow', async () => {
  await database.append(...Array.from({ length: 300 }, () => buildDraft()));
  await database.drain();
  for (const statement of [
    'update audit.tree set size = size - 1',
    `update audit.tree set origin = 'other'`,
    `update audit.tile set data = overlay(data placing '\\x00'::bytea from 1 for 1)`,
  ]) {
    await expect(database.owner.query(statement)).rejects.toThrow('only grows');
  }
});

test('the database refuses bytes that do not have their hash, and times that are not those of the id', async () => {
  const [id] = await database.append(buildDraft());
  const insert = (changed: string) =>
    database.owner.query(`insert into audit.entry select (jsonb_populate_record(e, ${changed})).* from audit.entry e where e.id = '${id}'`);
  await expect(insert(`'{"id":"01900000-0000-7000-8000-000000000000"}'`)).rejects.toThrow('entry_id_time');
  await expect(insert(`'{"canonical":"\\\\x00"}'`)).rejects.toThrow('entry_leaf_hash');
  await expect(insert(`jsonb_build_object('occurred_at', e.recorded_at - interval '32 days')`)).rejects.toThrow('entry_occurred');
});

test('one organization neither sees nor writes the log of another, and without one there is nothing', async () => {
  await database.append(buildDraft({ orgId: theirs }));
  await database.drain();
  const tables = ['entry', 'entry_private', 'leaf', 'tree'];
  for (const table of tables) {
    const all = sql<{ org_id: string }>`select distinct org_id from audit.${sql.raw(table)}`;
    const { rows } = await inOrganization(database.app, theirs, (em) => all.execute(em.getKysely()));
    expect(rows).toEqual([{ org_id: theirs }]);
    expect((await all.execute(database.app.em.fork().getKysely())).rows).toEqual([]);
  }
  await expect(inOrganization(database.app, theirs, (em) => appendAudit(em, [buildDraft({ orgId: ours })]))).rejects.toThrow(
    'row-level security',
  );
  await expect(appendAudit(database.app.em.fork(), [buildDraft()])).rejects.toThrow('row-level security');
});

test('the application cannot read the queue, nor the sequencer the entries', async () => {
  await expect(inOrganization(database.app, ours, (em) => sql`select * from audit.pending`.execute(em.getKysely()))).rejects.toThrow(
    'permission denied',
  );
  for (const table of ['entry', 'entry_private', 'control']) {
    await expect(sql`select * from audit.${sql.raw(table)}`.execute(database.sequencerOrm.em.fork().getKysely())).rejects.toThrow(
      'permission denied',
    );
  }
});

test('partitions are made ahead, once, and can be asked for again', async () => {
  const months = async () =>
    (await database.query<{ n: number }>(`select count(*)::int as n from pg_inherits where inhparent = 'audit.entry'::regclass`))[0]!.n;
  const before = await months();
  expect(before).toBeGreaterThanOrEqual(5);
  const { rows } = await sql<{ made: number }>`select audit.ensure_partitions(6) as made`.execute(
    database.sequencerOrm.em.fork().getKysely(),
  );
  expect(rows[0]!.made).toBe(4);
  expect(await months()).toBe(before + 2);
  await sql`select audit.ensure_partitions(6)`.execute(database.sequencerOrm.em.fork().getKysely());
  expect(await months()).toBe(before + 2);
});
