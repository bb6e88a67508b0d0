import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KyselyPlugin } from 'kysely';
import { appendAudit } from '../../db/audit-log.ts';
import { sequenceOnce } from '../../db/audit-round.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSequencer, type SequencerReport } from '../../db/sequencer.ts';
import { inOrganization } from '../../db/tenant.ts';
import { leafHashOf, recursiveRoot } from '../domain/audit/reference-tree.ts';
import { type AuditDatabase, buildDraft, openAuditDatabase, ours, theirs } from './audit-database.ts';

let database: AuditDatabase;
beforeEach(async () => {
  database = await openAuditDatabase(50);
});
afterEach(() => database.close());

interface LogRow {
  idx: string;
  entry_id: string;
  leaf_hash: Buffer;
  chain_hash: Buffer;
  canonical: Buffer;
}

/** Rebuilds one organization's log from the stored bytes alone, by the definitions, and compares. @returns its entries' ids in order */
async function expectSound(orgId: string): Promise<string[]> {
  const [tree] = await database.query<{ tree_id: string; origin: string; size: string; root_hash: Buffer; chain_hash: Buffer }>(
    'select * from audit.tree where org_id = $1',
    [orgId],
  );
  const leaves = await database.query<LogRow>(
    `select leaf.*, entry.canonical from audit.leaf join audit.entry on entry.id = leaf.entry_id and entry.recorded_at = leaf.recorded_at
     where tree_id = $1 order by idx`,
    [tree!.tree_id],
  );
  expect(leaves).toHaveLength(Number(tree!.size));
  let chain = createHash('sha256').update(`tocsin/audit-chain/v1\n${tree!.origin}\n`).digest();
  let broken = 0;
  leaves.forEach((leaf, i) => {
    const leafHash = leafHashOf(leaf.canonical);
    chain = createHash('sha256').update(chain).update(leafHash).digest();
    if (Number(leaf.idx) !== i || !leaf.leaf_hash.equals(leafHash) || !leaf.chain_hash.equals(chain)) broken += 1;
  });
  expect(broken).toBe(0);
  expect(tree!.chain_hash).toEqual(chain);
  expect(tree!.root_hash).toEqual(recursiveRoot(leaves.map(({ canonical }) => leafHashOf(canonical))));
  const ids = leaves.map(({ entry_id: id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  return ids;
}

test('50 writers at once and two sequencers: every entry once, no broken link, no gap, the right root', async () => {
  const second = await openDatabase({ databaseUrl: database.databaseUrl, role: 'tocsin_sequencer', poolMax: 3 });
  const sequencers = [database.startSequencer(), createSequencer({ orm: second, log: silent })];
  sequencers[1]!.start();
  const orgIds = [ours, theirs, '33333333-3333-4333-8333-333333333333'];
  const committed = new Map(orgIds.map((orgId) => [orgId, new Set<string>()]));
  const writers = Array.from({ length: 50 }, async (_, writer) => {
    // half of the writers share one organization; some transactions carry several entries, and every tenth is rolled back
    const orgId = orgIds[writer % 2 === 0 ? 0 : 1 + (writer % 4 === 1 ? 0 : 1)]!;
    for (let round = 0; round < 40; round += 1) {
      const drafts = Array.from({ length: 1 + (round % 3) }, (_unused, i) => buildDraft({ orgId, details: { writer, round, i } }));
      try {
        const ids = await inOrganization(database.app, orgId, async (em) => {
          const appended = await appendAudit(em, drafts);
          if (round % 10 === 9) throw new Error('rolled back');
          return appended;
        });
        for (const id of ids) committed.get(orgId)!.add(id);
      } catch (error) {
        expect((error as Error).message).toBe('rolled back');
      }
    }
  });
  await Promise.all(writers);
  await until(async () => (await sequencers[0]!.lag()).entries === 0);
  await Promise.all(sequencers.map((sequencer) => sequencer.stop()));
  await second.close(true);
  for (const orgId of orgIds) {
    const ids = await expectSound(orgId);
    expect(new Set(ids)).toEqual(committed.get(orgId));
  }
  const total = [...committed.values()].reduce((sum, { size }) => sum + size, 0);
  // Of 1, 2 or 3 entries in turn, without every tenth.
  expect(total).toBe(50 * 72);
}, 120_000);

test('a round that fails at any of its statements loses nothing and repeats nothing', async () => {
  await database.append(...Array.from({ length: 300 }, () => buildDraft()));
  await database.drain();
  let appended = 300;
  let failing = 1;
  for (; ; failing += 1) {
    await database.append(...Array.from({ length: 250 }, () => buildDraft()));
    appended += 250;
    const survived = await roundFailingAt(database.sequencerOrm, failing).then(
      () => true,
      () => false,
    );
    const [{ size } = { size: -1 }] = await database.query<{ size: number }>('select size::int from audit.tree');
    expect(size).toBe(survived ? appended : appended - 250);
    if (survived) break;
    await database.drain();
  }
  // lock, take, trees, leaves and tiles to rebuild from, new leaves, tiles, heads
  expect(failing).toBeGreaterThan(7);
  expect(await expectSound(ours)).toHaveLength(appended);
});

test('a sequencer whose connection is cut carries on', async () => {
  const sequencer = database.startSequencer();
  const ids: string[] = [];
  for (let i = 0; i < 10; i += 1) {
    ids.push(...(await database.append(...Array.from({ length: 100 }, () => buildDraft()))));
    await database.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tocsin_sequencer'`);
  }
  await until(async () => (await database.query('select 1 from audit.pending limit 1')).length === 0);
  await sequencer.stop();
  expect(await expectSound(ours)).toEqual(ids);
});

test('a transaction that stays open is sequenced late, not lost', async () => {
  const sequencer = database.startSequencer();
  let commit = (): void => {};
  const held = new Promise<void>((resolve) => (commit = resolve));
  const late = inOrganization(database.app, ours, async (em) => {
    const [id] = await appendAudit(em, [buildDraft()]);
    await held;
    return id!;
  });
  await sleep(100);
  const [early] = await database.append(buildDraft());
  await until(async () => (await database.query('select 1 from audit.leaf where entry_id = $1', [early])).length === 1);
  await sleep(2_000);
  commit();
  const lateId = await late;
  await until(async () => (await database.query('select 1 from audit.leaf where entry_id = $1', [lateId])).length === 1);
  await sequencer.stop();
  expect(await expectSound(ours)).toEqual([early, lateId]);
});

test('entries are sequenced within the promised time', async () => {
  const sequencer = database.startSequencer();
  await database.append(buildDraft());
  await until(async () => (await database.query('select 1 from audit.leaf')).length === 1);
  const startedAt = performance.now();
  await database.append(buildDraft());
  await until(async () => (await database.query('select 1 from audit.leaf')).length === 2);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
  await sequencer.stop();
});

test('it reports how it goes', async () => {
  const reports: SequencerReport[] = [];
  const sequencer = createSequencer({ orm: database.sequencerOrm, log: silent, report: async (report) => void reports.push(report) });
  sequencer.start();
  await database.append(buildDraft(), buildDraft());
  await until(async () => reports.length > 0);
  await sequencer.stop();
  expect(reports[0]).toEqual({ sequenced: 2, rounds: 1, waiting: 0, oldestSeconds: 0, refused: 0 });
});

test('a tree that does not have its root is refused from the start; the others go on', async () => {
  await database.append(...Array.from({ length: 10 }, () => buildDraft()));
  await database.append(buildDraft({ orgId: theirs }));
  await database.drain();
  await database.tamper(`update audit.tree set root_hash = sha256('forged') where org_id = $1`, [ours]);
  await database.append(buildDraft());
  await database.append(buildDraft({ orgId: theirs }));
  await database.drain();
  expect(database.logLines).toContainEqual(expect.objectContaining({ organizationId: ours, outcome: 'refused' }));
  expect(await expectSound(theirs)).toHaveLength(2);
  expect(await database.query('select 1 from audit.pending')).toHaveLength(1);
  expect(await database.query('select 1 from audit.leaf where org_id = $1', [ours])).toHaveLength(10);
});

test('a tree that is rewritten while the sequencer runs is refused, even when it was rewritten consistently', async () => {
  const sequencer = database.startSequencer();
  await database.append(buildDraft());
  await until(async () => (await database.query('select 1 from audit.leaf')).length === 1);
  await database.tamper(`update audit.leaf set leaf_hash = sha256('forged')`);
  await database.tamper(`update audit.tree set root_hash = sha256('forged')`);
  await database.append(buildDraft());
  await until(async () => sequencer.refused().includes(ours));
  expect(await database.query('select 1 from audit.pending')).toHaveLength(1);
  await sequencer.stop();
});

test('a tree with a tile missing is refused', async () => {
  await database.append(...Array.from({ length: 300 }, () => buildDraft()));
  await database.drain();
  await database.tamper('delete from audit.tile where level = 1');
  await database.append(buildDraft());
  await database.drain();
  expect(database.logLines).toContainEqual(expect.objectContaining({ organizationId: ours, outcome: 'refused' }));
  expect(await database.query('select 1 from audit.leaf')).toHaveLength(300);
});

test('tiles are those of the tree, at every level', async () => {
  // 66,000 leaves would take long to append; leaves need no entries, so the queue is filled directly
  const total = 66_000;
  await database.query(
    `insert into audit.pending (org_id, entry_id, recorded_at, leaf_hash)
     select $1, gen_random_uuid(), now(), sha256(convert_to(n::text, 'UTF8')) from generate_series(1, ${total}) n`,
    [ours],
  );
  await database.drain();
  const leaves = (await database.query<{ leaf_hash: Buffer }>('select leaf_hash from audit.leaf order by idx')).map((row) => row.leaf_hash);
  expect(leaves).toHaveLength(total);
  const [tree] = await database.query<{ root_hash: Buffer }>('select root_hash from audit.tree');
  expect(tree!.root_hash).toEqual(recursiveRoot(leaves));
  const tiles = await database.query<{ level: number; n: string; width: number; data: Buffer }>(
    'select * from audit.tile order by level, n',
  );
  expect(tiles.map(({ level, n, width }) => [level, Number(n), width])).toEqual([
    ...Array.from({ length: 257 }, (_, n) => [0, n, 256]),
    [1, 0, 256],
    [1, 1, 1],
    [2, 0, 1],
  ]);
  for (const { level, n, width, data } of tiles) {
    for (const i of [0, width - 1]) {
      const at = (Number(n) * 256 + i) * 256 ** level;
      expect(data.subarray(i * 32, (i + 1) * 32)).toEqual(recursiveRoot(leaves.slice(at, at + 256 ** level)));
    }
  }
});

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

async function roundFailingAt(orm: MikroORM, statement: number): Promise<void> {
  let statements = 0;
  const plugin: KyselyPlugin = {
    transformQuery({ node }) {
      statements += 1;
      if (statements === statement) throw new Error('killed');
      return node;
    },
    transformResult: async ({ result }) => result,
  };
  await orm.em.fork().transactional((em) => {
    const db = em.getKysely<unknown>().withPlugin(plugin);
    return sequenceOnce(db, { known: new Map(), refused: [], originBase: 'audit.example.test/tlog' });
  });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2_000; i += 1) {
    if (await condition()) return;
    await sleep(10);
  }
  throw new Error('it never happened');
}
