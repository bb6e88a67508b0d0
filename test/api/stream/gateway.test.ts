import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { openResume, sealResume } from '../../../api/stream/resume.ts';
import { inOrganization } from '../../../db/tenant.ts';
import { newId } from '../../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../start-api.ts';
import { connect, is, type Message, startProcess, type StreamProcess } from './processes.ts';

let api: TestApi;
/** Milliseconds by which the first process's clock is ahead. */
let ahead = 0;
let first: StreamProcess;
let second: StreamProcess;
beforeAll(async () => {
  api = await startApi();
  first = await startProcess(api, { now: () => Date.now() + ahead });
  second = await startProcess(api);
});
afterAll(async () => {
  await first.stop();
  await second.stop();
  await api.stop();
});

const post = async (process: StreamProcess, { key }: TestOrganization, subject = 's') =>
  process.request('POST', '/events', { key, body: { type: 'job.failed', subject, dedupKey: String(Math.random()) } });
const greeted = async (...clients: Array<ReturnType<typeof connect>>) => Promise.all(clients.map((client) => client.next(is('hello'))));
const told = (subject: string) => (message: Message) => message.t === 'notification' && message['item'].subject === subject;
const counted = (count: number) => (message: Message) => message.t === 'unread' && message['count'] === count;

describe('what changes', () => {
  test('arrives at the sockets of every process of that organization, with the count, and at nobody else’s', async () => {
    const [ours, theirs] = [await api.buildOrganization(), await api.buildOrganization()];
    const [here, there, foreign] = [connect(first.url, ours), connect(second.url, ours), connect(second.url, theirs)];
    const [hello] = await greeted(here, there, foreign);
    expect(hello).toMatchObject({ v: 1, unread: { count: 0, byCategory: { job: 0 } } });
    await post(first, ours, 'to both');
    for (const client of [here, there]) {
      expect((await client.next(told('to both')))['item']).toMatchObject({ category: 'job', readAt: null });
      expect(await client.next(counted(1))).toMatchObject({ byCategory: { job: 1 } });
    }
    const [id] = here.messages.filter(told('to both')).map((message) => message['item'].id);
    here.send({ t: 'read', ids: [id], req: 5 });
    expect(await here.next(is('ok'))).toEqual({ t: 'ok', req: 5 });
    for (const client of [here, there]) {
      expect(await client.next(is('updated'))).toMatchObject({ ids: [id], readAt: expect.any(String) });
      await client.next(counted(0));
    }
    await second.request('POST', `/notifications/${id}/unread`, ours);
    expect(await here.next((message) => message.t === 'updated' && message['readAt'] === null)).toMatchObject({ ids: [id] });
    const { body } = await first.request('GET', '/audit-logs?action=notification.read', ours);
    expect(body.data).toHaveLength(1);
    expect(foreign.messages.map(({ t }) => t)).toEqual(['hello']);
    for (const client of [here, there, foreign]) client.socket.close();
  });

  test('all read is told as what it covers; items after it stay unread', async () => {
    const ours = await api.buildOrganization();
    const client = connect(first.url, ours);
    await greeted(client);
    for (const subject of ['1', '2', '3']) await post(second, ours, subject);
    const items: Message[] = [];
    for (const subject of ['1', '2', '3']) items.push(await client.next(told(subject)));
    const before = items[1]!['item'].id;
    client.send({ t: 'read_all', before, req: 'all' });
    expect(await client.next(is('updated'))).toMatchObject({ ids: [], before, categories: ['job'] });
    await client.next((message) => counted(1)(message), client.messages.findIndex(is('updated')));
    client.socket.close();
  });

  test('is found without any signal within the time of a round', async () => {
    const ours = await api.buildOrganization();
    const deaf = await startProcess(api, { readEveryMs: 200 });
    const client = connect(deaf.url, ours);
    await greeted(client);
    await inOrganization(api.orm, ours.id, async (em) =>
      sql`insert into notification (org_id, id, user_id, type, feed, severity, subject, created_at)
        values (${ours.id}, ${newId(Date.now())}, ${ours.ownerId}, 'job.failed', 'job', 'info', 'unsaid', now())`.execute(em.getKysely()),
    );
    await client.next(told('unsaid'));
    client.socket.close();
    await deaf.stop();
  });

  test('a broadcast to a role reaches those who have it', async () => {
    const ours = await api.buildOrganization();
    const [operator, member] = [await api.buildMember(ours, 'operator'), await api.buildMember(ours, 'member')];
    const [one, other] = [connect(second.url, operator), connect(second.url, member)];
    await greeted(one, other);
    await first.request('POST', '/notifications/broadcast', { key: ours.key, body: { subject: 'for all', audience: 'all' } });
    await first.request('POST', '/notifications/broadcast', {
      key: ours.key,
      body: { subject: 'operators', audience: { role: 'operator' } },
    });
    await one.next(told('operators'));
    await other.next(told('for all'));
    await post(first, ours, 'after');
    await Promise.all([one.next(told('after')), other.next(told('after'))]);
    expect(other.messages.some(told('operators'))).toBe(false);
    for (const client of [one, other]) client.socket.close();
  });
});

describe('resuming', () => {
  test('replays what was missed, marks included, and nothing of others', async () => {
    const ours = await api.buildOrganization();
    const client = connect(first.url, ours);
    await greeted(client);
    await post(first, ours, 'before');
    const { resume, item } = await client.next(told('before'));
    client.socket.terminate();
    await client.closed;
    await post(second, ours, 'missed');
    await second.request('POST', `/notifications/${item.id}/read`, ours);
    const again = connect(second.url, ours);
    expect((await greeted(again))[0]).toMatchObject({ unread: { count: 1 } });
    again.send({ t: 'resume', token: resume });
    await again.next(told('missed'));
    expect(await again.next(is('updated'))).toMatchObject({ ids: [item.id] });
    expect((await again.next(told('before')))['item'].readAt).not.toBeNull();
    again.socket.close();
  });

  test('a token that was made up, is another organization’s or older than a day is answered by resync', async () => {
    const [ours, theirs] = [await api.buildOrganization(), await api.buildOrganization()];
    const { secrets } = api.deps;
    const point = { at: Date.now(), since: '1' };
    const client = connect(second.url, ours);
    await greeted(client);
    const own = sealResume(secrets, ours.id, point);
    expect(openResume(secrets, ours.id, own)).toEqual(point);
    for (const token of ['x', sealResume(secrets, theirs.id, point), `${own.slice(0, -4)}AAAA`]) {
      const from = client.messages.length;
      client.send({ t: 'resume', token });
      await client.next(is('resync'), from);
      expect(client.messages.slice(from).map(({ t }) => t)).toEqual(['error', 'resync']);
    }
    const from = client.messages.length;
    client.send({ t: 'resume', token: sealResume(secrets, ours.id, { ...point, at: Date.now() - 86_400_001 }) });
    await client.next(is('resync'), from);
    client.socket.close();
  });

  test('more than 500 items are to be read by REST', async () => {
    const ours = await api.buildOrganization();
    const client = connect(second.url, ours);
    const [{ resume }] = (await greeted(client)) as [Message];
    client.socket.terminate();
    const events = Array.from({ length: 501 }, (_, i) => ({ type: 'job.failed', dedupKey: `k${i}` }));
    await first.request('POST', '/events/batch', { key: ours.key, body: { events } });
    const again = connect(second.url, ours);
    await greeted(again);
    again.send({ t: 'resume', token: resume });
    await again.next(is('resync'));
    again.socket.close();
  });
});

describe('a connection', () => {
  test('is let in by a ticket once, within 30 s, and by its first message', async () => {
    const ours = await api.buildOrganization();
    const ticket = async (): Promise<string> => (await first.request('POST', '/stream/tickets', ours)).body.ticket;
    const used = await ticket();
    const { rows } = await inOrganization(api.orm, ours.id, async (em) =>
      sql<{ found: number }>`select 1 as found from audit.entry where canonical::text like ${`%${used}%`}`.execute(em.getKysely()),
    ).catch(() => ({ rows: [] }));
    expect(rows).toEqual([]);
    const client = connect(`${second.url}?ticket=${used}`);
    await greeted(client);
    expect(await connect(`${second.url}?ticket=${used}`).closed).toBe(4401);
    expect(await connect(`${second.url}?ticket=tst_x`).closed).toBe(4401);
    const late = await ticket();
    ahead = 31_000;
    expect(await connect(`${first.url}?ticket=${late}`).closed).toBe(4401);
    ahead = 0;
    const speaking = connect(second.url);
    speaking.socket.on('open', () => speaking.send({ t: 'auth', token: ours.key }));
    await greeted(speaking);
    for (const each of [client, speaking]) each.socket.close();
  });

  test('is closed with 4401 when its key is bad, it says nothing, or its member is disabled', async () => {
    const ours = await api.buildOrganization();
    expect(await connect(second.url, { key: `tsn_${'x'.repeat(43)}` }).closed).toBe(4401);
    const silent = connect(first.url);
    await new Promise((resolve) => silent.socket.on('open', resolve));
    ahead = 5_000;
    expect(await silent.closed).toBe(4401);
    ahead = 0;
    const member = await api.buildMember(ours, 'member');
    const leaving = connect(first.url, member);
    await greeted(leaving);
    await inOrganization(api.orm, ours.id, (em) =>
      sql`update member set status = 'disabled' where id = ${member.id}`.execute(em.getKysely()),
    );
    ahead = 31_000;
    await leaving.next(is('ping'));
    expect(await leaving.closed).toBe(4401);
    ahead = 0;
  });

  test('is pinged, and closed with 4408 when it does not answer', async () => {
    const ours = await api.buildOrganization();
    const client = connect(first.url, ours);
    await greeted(client);
    ahead = 31_000;
    expect(await client.next(is('ping'))).toEqual({ t: 'ping', n: 1 });
    ahead = 76_000;
    expect(await client.closed).toBe(4408);
    ahead = 0;
  });

  test('is closed with 4413 after more than 4 KB, with 4429 after more than 20 messages', async () => {
    const ours = await api.buildOrganization();
    const [large, many] = [connect(second.url, ours), connect(second.url, ours)];
    await greeted(large, many);
    large.send({ t: 'pong', n: 1, x: 'x'.repeat(4_096) });
    expect(await large.closed).toBe(4413);
    for (let i = 0; i < 21; i += 1) many.send({ t: 'pong', n: 1 });
    expect(await many.closed).toBe(4429);
  });

  test('is the user’s fifth at most: the oldest gives way, with 4409', async () => {
    const ours = await api.buildOrganization();
    const clients: Array<ReturnType<typeof connect>> = [];
    for (let i = 0; i < 6; i += 1) {
      clients.push(connect(second.url, ours));
      await greeted(clients[i]!);
    }
    expect(await clients[0]!.closed).toBe(4409);
    await post(first, ours, 'to five');
    for (const client of clients.slice(1)) {
      await client.next(told('to five'));
      client.socket.close();
    }
  });

  test('that reads nothing is told to resync and closed with 4410', async () => {
    const ours = await api.buildOrganization();
    const slow = connect(second.url, ours);
    await greeted(slow);
    slow.socket.pause();
    const message = 'x'.repeat(8_000);
    const events = Array.from({ length: 100 }, (_, i) => ({ type: 'job.failed', message, dedupKey: `${Math.random()}${i}` }));
    // More than the system keeps for a connection that nobody reads from.
    for (let i = 0; i < 25; i += 1) {
      const fresh = events.map((event, n) => ({ ...event, dedupKey: `${i} ${n}` }));
      await first.request('POST', '/events/batch', { key: ours.key, body: { events: fresh } });
    }
    slow.socket.resume();
    expect(await slow.closed).toBe(4410);
    expect(slow.messages.at(-1)).toEqual({ t: 'resync' });
  });

  test('of a foreign page is refused, and so is one that speaks another protocol or is at another path', async () => {
    const refusal = async (path: string, headers: Record<string, string>): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const upgrade = {
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        };
        const asked = get(`${second.url.replace('ws:', 'http:')}${path}`, { headers: { ...upgrade, ...headers }, agent: false });
        asked.on('response', (response) => {
          resolve(response.statusCode);
          asked.destroy();
        });
        asked.on('upgrade', (_response, socket) => {
          resolve(101);
          socket.destroy();
        });
        asked.on('error', reject);
      });
    const spoken = { 'Sec-WebSocket-Protocol': 'tocsin.v1' };
    expect(await refusal('', { ...spoken, Origin: 'https://evil.example.com' })).toBe(403);
    expect(await refusal('', { ...spoken, Origin: `http://${new URL(second.url).host}` })).toBe(101);
    expect(await refusal('', { 'Sec-WebSocket-Protocol': 'other' })).toBe(400);
    expect(await refusal('s', spoken)).toBe(404);
  });

  test('is closed with 1012 when its process stops', async () => {
    const ours = await api.buildOrganization();
    const third = await startProcess(api);
    const client = connect(third.url, ours);
    await greeted(client);
    await third.stop();
    expect(await client.closed).toBe(1012);
  });
});
