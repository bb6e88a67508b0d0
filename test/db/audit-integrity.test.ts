import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { verifyLog } from '../../db/queries/audit-integrity.ts';
import { recursiveRoot } from '../domain/audit/reference-tree.ts';
import { type AuditDatabase, buildDraft, openAuditDatabase, ours, theirs } from './audit-database.ts';

/** Drills: somebody with every right of the database alters a log of 600 entries, triggers off. Each must be named, at its place. */

let database: AuditDatabase;
let ids: string[];
beforeEach(async () => {
  database = await openAuditDatabase();
  ids = await database.append(...Array.from({ length: 600 }, (_, i) => buildDraft({ details: { i } })));
  await database.drain();
});
afterEach(() => database.close());

const findings = async () => (await verifyLog(database.app, ours)).findings;
const hashOf = (canonical: Buffer) =>
  createHash('sha256')
    .update(Buffer.concat([Buffer.alloc(1), canonical]))
    .digest();

/** New bytes for an entry, with the hash that goes with them. */
async function rewrite(index: number, change: (document: Record<string, unknown>) => void): Promise<Buffer> {
  const [row] = await database.query<{ canonical: Buffer }>('select canonical from audit.entry where id = $1', [ids[index]]);
  const document = JSON.parse(row!.canonical.toString()) as Record<string, unknown>;
  change(document);
  const canonical = Buffer.from(JSON.stringify(document));
  await database.tamper('update audit.entry set canonical = $2, leaf_hash = $3 where id = $1', [ids[index], canonical, hashOf(canonical)]);
  return hashOf(canonical);
}

test('an untouched log has nothing to be found, and its root is that of its bytes', async () => {
  const report = await verifyLog(database.app, ours);
  const bodies = await database.query<{ canonical: Buffer }>(
    'select canonical from audit.leaf join audit.entry on entry.id = leaf.entry_id and entry.recorded_at = leaf.recorded_at order by idx',
  );
  expect(report).toMatchObject({
    ok: true,
    epoch: 0,
    treeSize: 600,
    rootHash: recursiveRoot(bodies.map(({ canonical }) => hashOf(canonical))).toString('hex'),
    structure: { verified: 600, rootOk: true, chainOk: true, tilesOk: true },
    content: { verified: 600, missing: 0 },
    disclosures: { verified: 3_600, mismatch: 0, missing: 0 },
    columns: { checked: 600, drift: 0 },
    pending: { entries: 0 },
    findings: [],
  });
});

test('an organization without a log, and one whose entries still wait, are fine', async () => {
  expect(await verifyLog(database.app, theirs)).toMatchObject({ ok: true, treeSize: 0, origin: null });
  await database.append(buildDraft({ orgId: theirs }));
  await database.append(buildDraft());
  expect(await verifyLog(database.app, theirs)).toMatchObject({ ok: true, treeSize: 0, pending: { entries: 1 } });
  expect(await verifyLog(database.app, ours)).toMatchObject({ ok: true, treeSize: 600, pending: { entries: 1 } });
});

test('bytes edited together with their hash', async () => {
  await rewrite(417, (document) => (document['action'] = 'webhook.nothing'));
  expect(await findings()).toEqual([
    { code: 'leaf_mismatch', index: 417, entryId: ids[417], expected: expect.any(String), got: expect.any(String) },
  ]);
  expect(await verifyLog(database.app, ours)).toMatchObject({ ok: false, structure: { rootOk: true }, content: { verified: 599 } });
});

test('a column edited, so that the list lies', async () => {
  await database.tamper(`update audit.entry set actor_id = 'somebody', changed = '{}' where id = $1`, [ids[3]]);
  await database.tamper(`update audit.entry set resource_name = null where id = $1`, [ids[599]]);
  expect(await findings()).toEqual([
    { code: 'column_drift', index: 3, entryId: ids[3], fields: ['actorId', 'changed'] },
    { code: 'column_drift', index: 599, entryId: ids[599], fields: ['resourceName'] },
  ]);
});

test('an entry deleted; a month deleted', async () => {
  await database.tamper('delete from audit.entry where id = $1', [ids[256]]);
  expect(await findings()).toEqual([{ code: 'entry_missing', index: 256, entryId: ids[256] }]);
  await database.tamper('delete from audit.entry where id = any($1)', [ids.slice(100, 500)]);
  expect(await findings()).toEqual([{ code: 'entry_missing', index: 100, from: 100, to: 500, entryId: ids[100] }]);
});

test('two bodies swapped, and three rotated', async () => {
  const give = async (to: number, from: number, bodies: Array<{ canonical: Buffer; leaf_hash: Buffer }>) =>
    database.tamper('update audit.entry set canonical = $2, leaf_hash = $3 where id = $1', [
      ids[to],
      bodies[from]!.canonical,
      bodies[from]!.leaf_hash,
    ]);
  const bodies = await database.query<{ canonical: Buffer; leaf_hash: Buffer }>(
    'select canonical, entry.leaf_hash from audit.leaf join audit.entry on entry.id = leaf.entry_id and entry.recorded_at = leaf.recorded_at order by idx',
  );
  await give(10, 20, bodies);
  await give(20, 10, bodies);
  await give(300, 301, bodies);
  await give(301, 302, bodies);
  await give(302, 300, bodies);
  await give(50, 51, bodies);
  expect(await findings()).toEqual([
    { code: 'entries_swapped', index: 10, from: 10, to: 20, entryId: ids[10] },
    { code: 'leaf_mismatch', index: 50, entryId: ids[50], expected: expect.any(String), got: expect.any(String) },
    { code: 'reordered', index: 300, from: 300, to: 302, entryId: ids[300] },
  ]);
});

test('an entry slipped in around the log', async () => {
  const [id] = await database.append(buildDraft());
  await database.tamper('delete from audit.pending');
  expect(await findings()).toEqual([{ code: 'entry_unsequenced', entryId: id }]);
});

test('a body and its leaf rewritten: chain, tile and root still know', async () => {
  const hash = await rewrite(100, (document) => (document['status'] = 'blocked'));
  await database.tamper(`update audit.entry set status = 'blocked' where id = $1`, [ids[100]]);
  await database.tamper('update audit.leaf set leaf_hash = $1 where idx = 100', [hash]);
  expect(await findings()).toEqual([
    { code: 'chain_mismatch', index: 100, expected: expect.any(String), got: expect.any(String) },
    { code: 'tile_mismatch', level: 0, tile: 0, index: 100, expected: hash.toString('hex'), got: expect.any(String) },
    { code: 'root_mismatch', from: 0, to: 600, expected: expect.any(String), got: expect.any(String) },
    { code: 'tile_mismatch', level: 1, tile: 0, from: 0, to: 256, expected: expect.any(String), got: expect.any(String) },
  ]);
});

test('a tile forged; a tile lost; a tile too many', async () => {
  await database.tamper(`update audit.tile set data = overlay(data placing sha256('x') from 32 * 7 + 1 for 32) where level = 0 and n = 1`);
  expect(await findings()).toMatchObject([{ code: 'tile_mismatch', level: 0, tile: 1, index: 263 }]);
  await database.tamper('delete from audit.tile where level = 0 and n = 1');
  expect(await findings()).toEqual([{ code: 'tile_mismatch', level: 0, tile: 1, from: 256, to: 512 }]);
  await database.tamper(`insert into audit.tile select tree_id, level, 9, org_id, width, data from audit.tile where level = 0 and n = 0`);
  await database.tamper(`insert into audit.tile select tree_id, level, 1, org_id, width, data from audit.tile where level = 0 and n = 0`);
  expect((await findings()).at(-1)).toMatchObject({ code: 'tile_mismatch' });
});

test('the tail cut off, with or without the row of the tree', async () => {
  await database.tamper('delete from audit.leaf where idx >= 590');
  expect((await findings())[0]).toEqual({ code: 'index_gap', index: 590, from: 590, to: 600 });
  expect((await findings()).filter(({ code }) => code === 'entry_unsequenced')).toHaveLength(10);
  expect(await verifyLog(database.app, ours)).toMatchObject({ ok: false, structure: { rootOk: false } });
});

test('leaves missing in the middle, and a tree that tells less than it has', async () => {
  await database.tamper('delete from audit.leaf where idx between 5 and 6');
  expect((await findings())[0]).toEqual({ code: 'index_gap', index: 5, from: 5, to: 7 });
  await database.tamper('update audit.tree set size = 500');
  expect((await findings()).map(({ code }) => code)).toContain('size_rollback');
});

test('root, chain and the whole tree', async () => {
  await database.tamper(`update audit.tree set root_hash = sha256('x'), chain_hash = sha256('y')`);
  expect((await findings()).map(({ code }) => code)).toEqual(['root_mismatch', 'chain_mismatch']);
  await database.tamper('delete from audit.tree');
  expect((await findings())[0]).toEqual({ code: 'log_missing' });
});

test('a private value replaced, one removed, a whole side row gone', async () => {
  const [row] = await database.query<{ envelopes: Buffer[] }>('select envelopes from audit.entry_private where id = $1', [ids[0]]);
  const list = JSON.parse(row!.envelopes[0]!.subarray(1).toString()) as string[];
  const forged = Buffer.from(JSON.stringify([Buffer.from('["c2FsdA","ip","6.6.6.6"]').toString('base64url')]));
  await database.tamper('update audit.entry_private set envelopes[1] = $2 where id = $1', [
    ids[0],
    Buffer.concat([Buffer.alloc(1), forged]),
  ]);
  await database.tamper('delete from audit.entry_private where id = $1', [ids[1]]);
  expect(list).toHaveLength(2);
  expect(await findings()).toEqual([
    { code: 'commitment_mismatch', index: 0, entryId: ids[0], fields: ['ip'] },
    { code: 'disclosure_missing', index: 0, entryId: ids[0], fields: ['actor.email'] },
    { code: 'disclosure_missing', index: 1, entryId: ids[1], fields: ['actor.email', 'after', 'before', 'details', 'diff', 'ip'] },
  ]);
});

test('a committed body that is no entry at all is named, not tripped over', async () => {
  const garbage = Buffer.from('null');
  await database.tamper('update audit.entry set canonical = $2, leaf_hash = $3 where id = $1', [ids[7], garbage, hashOf(garbage)]);
  await database.tamper('update audit.leaf set leaf_hash = $1 where idx = 7', [hashOf(garbage)]);
  expect((await findings()).map(({ code }) => code)).toContain('document_malformed');
});

test('entries that nobody sequences for more than a minute', async () => {
  await database.append(buildDraft());
  await database.tamper(`update audit.pending set inserted_at = now() - interval '2 minutes'`);
  expect(await findings()).toEqual([{ code: 'stale_pending' }]);
});

test('what is found in one organization says nothing of another', async () => {
  await database.append(buildDraft({ orgId: theirs }));
  await database.drain();
  await rewrite(1, (document) => (document['status'] = 'blocked'));
  expect((await verifyLog(database.app, theirs)).ok).toBe(true);
  expect((await verifyLog(database.app, ours)).ok).toBe(false);
});
