import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import pg from 'pg';
import { deleteLeftovers } from '../../db/queries/retention.ts';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { inOrganization } from '../../db/tenant.ts';
import { fromWireId, newId, toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let theirs: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  theirs = await api.buildOrganization('Theirs');
});
afterAll(() => api.stop());

interface Item {
  id: string;
  category: string;
  createdAt: string;
  readAt: string | null;
  subject: string;
}

function reader(key: string) {
  const call = async (method: string, path: string, body?: unknown) => api.request(method, path, { key, body });
  return {
    call,
    list: async (query = ''): Promise<Item[]> => (await call('GET', `/notifications?limit=100${query}`)).body['data'],
    count: async () => (await call('GET', '/notifications/unread-count')).body as { count: number; byCategory: object; version: number },
    markAll: async (body?: object) => (await call('POST', '/notifications/mark-all-read', body)).body['marked'],
    post: async (type: string) => call('POST', '/events', { type, dedupKey: `${type} ${Math.random()}` }),
  };
}

/** A person with a feed of `count` items of two categories, newest first. */
async function buildReader(count: number) {
  const organization = await api.buildOrganization();
  const person = reader(organization.key);
  for (let i = 0; i < count; i += 1) await person.post(i % 2 === 0 ? 'job.failed' : 'alert.fired');
  return { organization, person, feed: await person.list() };
}

/** Inserts an item for the person, in a transaction that `between` runs in the middle of. */
async function insertLate(organization: TestOrganization, id: string, between: () => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: api.databaseUrl });
  await client.connect();
  try {
    await client.query('begin');
    await client.query(
      `insert into notification (org_id, id, user_id, type, feed, severity, subject, created_at) values ($1, $2, $3, 'job.failed', 'job', 'info', 'late', now())`,
      [organization.id, id, organization.ownerId],
    );
    await between();
    await client.query('commit');
  } finally {
    await client.end();
  }
}

describe('marking everything read', () => {
  test('writes a row per category, however many items there are, and no mark on any', async () => {
    const { organization, person } = await buildReader(9);
    expect(await person.markAll()).toBe(9);
    const rows = await inOrganization(api.orm, organization.id, async (em) => {
      const query = sql<{ marks: number; watermarks: number }>`select (select count(*) from notification_read)::int as marks,
        (select count(*) from notification_watermark)::int as watermarks`;
      return (await query.execute(em.getKysely())).rows[0];
    });
    expect(rows).toEqual({ marks: 0, watermarks: 2 });
    expect(await person.count()).toMatchObject({ count: 0 });
    expect((await person.list('&read=false')).length).toBe(0);
    expect((await person.list('&read=true')).length).toBe(9);
  });

  test('may be repeated, and keeps when each item was read first', async () => {
    const { person } = await buildReader(3);
    expect(await person.markAll()).toBe(3);
    const first = await person.list();
    await person.post('job.failed');
    expect(await person.markAll()).toBe(1);
    expect(await person.markAll()).toBe(0);
    const second = await person.list();
    expect(second.slice(1).map(({ readAt }) => readAt)).toEqual(first.map(({ readAt }) => readAt));
    expect(second[0]!.readAt).not.toBeNull();
  });

  test('leaves items newer than `before` unread, also those of the same millisecond', async () => {
    const organization = await api.buildOrganization();
    const person = reader(organization.key);
    const at = Date.now();
    const ids = Array.from({ length: 6 }, () => newId(at)).toSorted();
    await inOrganization(api.orm, organization.id, async (em) => {
      for (const id of ids)
        await sql`insert into notification (org_id, id, user_id, type, feed, severity, subject, created_at)
          values (${organization.id}, ${id}, ${organization.ownerId}, 'job.failed', 'job', 'info', 's', ${new Date(at)})`.execute(
          em.getKysely(),
        );
    });
    expect(await person.markAll({ before: toWireId('notification', ids[2]!) })).toBe(3);
    expect((await person.list('&read=false')).map(({ id }) => fromWireId('notification', id))).toEqual(ids.slice(3).toReversed());
    expect(await person.count()).toMatchObject({ count: 3 });
  });

  test('does not swallow an item whose transaction was still under way, although its id is lower', async () => {
    const { organization, person, feed } = await buildReader(1);
    const late = newId(Date.parse(feed[0]!.createdAt) - 1);
    await insertLate(organization, late, async () => {
      expect(await person.markAll()).toBe(1);
    });
    expect((await person.list('&read=false')).map(({ id }) => fromWireId('notification', id))).toEqual([late]);
    expect(await person.count()).toMatchObject({ count: 1, byCategory: { job: 1 } });
    expect(await person.markAll()).toBe(1);
    expect(await person.count()).toMatchObject({ count: 0 });
  });

  test('of one category leaves the others, and an item marked as unread below it stays unread until the next time', async () => {
    const { person, feed } = await buildReader(6);
    expect(await person.markAll({ category: 'alert' })).toBe(3);
    expect(await person.count()).toMatchObject({ count: 3, byCategory: { job: 3, alert: 0 } });
    const alert = feed.find(({ category }) => category === 'alert')!;
    for (let times = 0; times < 2; times += 1) {
      const { status, body } = await person.call('POST', `/notifications/${alert.id}/unread`);
      expect([status, body['readAt']]).toEqual([200, null]);
    }
    expect(await person.count()).toMatchObject({ count: 4, byCategory: { alert: 1 } });
    expect((await person.list('&read=false&category=alert')).map(({ id }) => id)).toEqual([alert.id]);
    expect(await person.markAll()).toBe(4);
    expect(await person.count()).toMatchObject({ count: 0 });
    expect((await person.list('&read=false')).length).toBe(0);
  });

  test('a mark of one item keeps its first time', async () => {
    const { person, feed } = await buildReader(2);
    const read = async (id: string) => (await person.call('POST', `/notifications/${id}/read`)).body['readAt'];
    const first = await read(feed[0]!.id);
    await person.markAll();
    expect(await read(feed[0]!.id)).toBe(first);
    const all = (await person.list())[1]!.readAt;
    expect(await read(feed[1]!.id)).toBe(all);
  });
});

test('the list is the same in pages of any size, with any filter', async () => {
  const { person, feed } = await buildReader(11);
  for (const at of [1, 4, 5]) await person.call('POST', `/notifications/${feed[at]!.id}/read`);
  await person.markAll({ before: feed[8]!.id });
  await person.call('POST', `/notifications/${feed[9]!.id}/unread`);
  const whole = await person.list();
  for (const [query, wanted] of [
    ['', () => true],
    ['&read=true', ({ readAt }: Item) => readAt !== null],
    ['&read=false', ({ readAt }: Item) => readAt === null],
    ['&category=job,job', ({ category }: Item) => category === 'job'],
    ['&category=alert&read=false', ({ category, readAt }: Item) => category === 'alert' && readAt === null],
  ] as const) {
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const { body } = await person.call('GET', `/notifications?limit=2${query}${cursor === null ? '' : `&cursor=${cursor}`}`);
      found.push(...body['data'].map(({ id }: Item) => id));
      cursor = body['nextCursor'];
    } while (cursor !== null);
    expect([query, found]).toEqual([query, whole.filter(wanted).map(({ id }) => id)]);
  }
  expect((await person.count()).count).toBe(whole.filter(({ readAt }) => readAt === null).length);
});

test('the version grows with every change, however quickly they follow one another', async () => {
  const { person, feed } = await buildReader(3);
  const versions = [(await person.count()).version];
  const changes = [
    async () => person.call('POST', `/notifications/${feed[0]!.id}/read`),
    async () => person.call('POST', `/notifications/${feed[0]!.id}/unread`),
    async () => person.post('job.failed'),
    async () => person.call('POST', '/notifications/mark-all-read'),
    async () => person.call('POST', `/notifications/${feed[2]!.id}/unread`),
  ];
  for (const change of changes) {
    await change();
    versions.push((await person.count()).version);
  }
  expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
});

describe('a broadcast', () => {
  const send = async (organization: TestOrganization, body: object) =>
    api.request('POST', '/notifications/broadcast', { key: organization.key, body: { subject: 'Maintenance at noon', ...body } });

  test('is one row, in the feed of everybody who was a member, with a mark of their own each', async () => {
    const organization = await api.buildOrganization();
    const early = reader((await api.buildMember(organization, 'member')).key);
    const answer = await send(organization, { message: 'One hour.', audience: 'all' });
    expect(answer.status).toBe(201);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const late = reader((await api.buildMember(organization, 'member')).key);
    const [item] = await early.list();
    expect(item).toMatchObject({ id: answer.body['id'], category: 'system', subject: 'Maintenance at noon', broadcast: true });
    expect(await late.list()).toEqual([]);
    expect(await reader(theirs.key).list()).toEqual([]);
    expect((await reader(theirs.key).call('POST', `/notifications/${item!.id}/read`)).status).toBe(404);
    expect((await late.call('POST', `/notifications/${item!.id}/read`)).status).toBe(404);
    expect(await early.markAll()).toBe(1);
    expect(await early.count()).toMatchObject({ count: 0 });
    expect(await reader(organization.key).count()).toMatchObject({ count: 1, byCategory: { system: 1 } });
    expect(await late.count()).toMatchObject({ count: 0 });
  });

  test('to a role is for those who have it; to a project for everybody, and it must be the organization’s', async () => {
    const organization = await api.buildOrganization();
    const [operator, member] = [await api.buildMember(organization, 'operator'), await api.buildMember(organization, 'member')];
    const project = (await api.request('POST', '/projects', { key: organization.key, body: { name: 'P' } })).body['id'];
    await send(organization, { audience: { role: 'operator' } });
    expect([await reader(operator.key).count(), await reader(member.key).count()]).toMatchObject([{ count: 1 }, { count: 0 }]);
    expect((await send(organization, { audience: { projectId: project } })).status).toBe(201);
    expect((await reader(member.key).list())[0]).toMatchObject({ projectId: project });
    const refused = await send(theirs, { audience: { projectId: project } });
    expect([refused.status, refused.body['errors'][0].pointer]).toEqual([422, '/audience/projectId']);
  });

  test('needs the permission, names every fault, and sends twice with one key only once', async () => {
    const organization = await api.buildOrganization();
    const member = await api.buildMember(organization, 'operator');
    const body = { subject: 'x', audience: 'all' };
    expect((await api.request('POST', '/notifications/broadcast', { key: member.key, body })).status).toBe(403);
    const faulty = await api.request('POST', '/notifications/broadcast', {
      key: organization.key,
      body: { subject: '', audience: 'some', to: 1 },
    });
    expect(faulty.status).toBe(422);
    expect(faulty.body['errors'].map(({ pointer }: { pointer: string }) => pointer).toSorted()).toEqual(['/audience', '/subject', '/to']);
    const headers = { 'Idempotency-Key': 'once' };
    for (let times = 0; times < 2; times += 1)
      await api.request('POST', '/notifications/broadcast', { key: organization.key, body, headers });
    expect(await reader(organization.key).count()).toMatchObject({ count: 1 });
  });

  test('is shown for 30 days, and swept then; other items for 90', async () => {
    const { organization, person } = await buildReader(1);
    await send(organization, { audience: 'all' });
    await person.markAll();
    await person.call('POST', `/notifications/${(await person.list())[0]!.id}/unread`);
    const relay = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_relay', poolMax: 1 });
    const dayMs = 86_400_000;
    const sweep = async (days: number) => {
      const now = new Date(Date.now() + days * dayMs);
      await deleteLeftovers(relay.em.fork(), { before: new Date(0), now, limit: 1_000 });
    };
    const rows = async () =>
      inOrganization(api.orm, organization.id, async (em) => {
        const query = sql<object>`select (select count(*) from notification)::int as items, (select count(*) from notification_read)::int as marks,
          (select count(*) from notification_watermark)::int as watermarks`;
        return (await query.execute(em.getKysely())).rows[0];
      });
    try {
      await sweep(29);
      expect(await rows()).toEqual({ items: 2, marks: 1, watermarks: 2 });
      await inOrganization(api.orm, organization.id, (em) =>
        sql`update notification set shown_until = now() where type = 'notification.broadcast'`.execute(em.getKysely()),
      );
      expect((await person.list()).length).toBe(1);
      expect(await person.count()).toMatchObject({ count: 0 });
      await sweep(31);
      expect(await rows()).toEqual({ items: 1, marks: 1, watermarks: 2 });
      await sweep(91);
      expect(await rows()).toEqual({ items: 0, marks: 0, watermarks: 0 });
    } finally {
      await relay.close(true);
    }
  });
});
