import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import type { TestedDestination } from '../../api/dependencies.ts';
import { inOrganization } from '../../db/tenant.ts';
import { hashContactCode } from '../../domain/contact-method.ts';
import { parseWireId, toWireId } from '../../domain/id.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
const sent: TestedDestination[] = [];
const result = {
  remoteAddress: null,
  requestHeaders: {},
  requestBody: null,
  responseHeaders: {},
  responseBody: null,
  responseTruncated: false,
};

beforeAll(async () => {
  api = await startApi({
    deps: {
      // as a worker does: it makes the code, which here everybody knows
      testDestination: async (tested) => {
        await inOrganization(api.orm, tested.organizationId, (em) =>
          sql`update contact_code set code_hash = ${hashContactCode(tested.id, '271828')} where id = ${tested.id}`.execute(em.getKysely()),
        );
        sent.push(tested);
        return { ...result, success: true, statusCode: 250, errorCode: null, detail: 'queued', durationMs: 3 };
      },
    },
  });
});
afterAll(() => api.stop());
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  sent.length = 0;
});

const call = (method: string, path: string, body?: unknown, key = ours.key) => api.request(method, path, { key, body });
const codesOf = ({ body }: TestAnswer) =>
  body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);
const address = { channelType: 'email', address: 'ada@phone.example.com' };

async function buildSender(): Promise<string> {
  const channel = { name: 'Mail', type: 'email', settings: { host: '127.0.0.1', from: 'a@example.com' } };
  const { body } = await call('POST', '/channels', channel);
  expect((await call('PATCH', '/organization', { settings: { senderChannels: { email: body['id'] } } })).status).toBe(200);
  return body['id'];
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(condition()).toBe(true);
}

/** A new address whose code has been sent. */
async function addAddress(given: object = address): Promise<string> {
  const before = sent.length;
  const { body } = await call('POST', '/contact-methods', given);
  await until(() => sent.length > before);
  return body['id'];
}

describe('the own e-mail address of a member', () => {
  test('is there from the start, verified and for pages, and stays', async () => {
    const { body } = await call('GET', '/contact-methods');
    expect(body['data']).toMatchObject([{ channelType: 'email', login: true, page: true, verification: null, digestInterval: 'PT15M' }]);
    const [{ id, address: own, verifiedAt }] = body['data'];
    expect([own, verifiedAt]).toEqual([`owner-${ours.ownerId}@example.com`, expect.any(String)]);
    expect(id).toBe(toWireId('contact_method', ours.ownerId));
    expect((await call('DELETE', `/contact-methods/${id}`)).body['code']).toBe('wrong_state');
    const changed = await call('PATCH', `/contact-methods/${id}`, { page: false, digestInterval: 'PT60M', dailyAt: '07:30' });
    expect(changed.body).toMatchObject({ page: false, digestInterval: 'PT1H', dailyAt: '07:30', version: 2 });
  });
});

describe('another address', () => {
  test('gets a code at once, and counts when the code has come back', async () => {
    const sender = await buildSender();
    const created = await call('POST', '/contact-methods', { ...address, page: true });
    expect([created.status, created.body]).toMatchObject([
      201,
      { ...address, page: true, login: false, verifiedAt: null, verification: { state: 'code_sent' }, version: 1 },
    ]);
    await until(() => sent.length === 1);
    expect(sent[0]).toEqual({ organizationId: ours.id, kind: 'contact', id: expect.any(String), channelType: 'email' });
    const path = `/contact-methods/${created.body['id']}`;
    const verified = await call('POST', `${path}/verify`, { code: '271828' });
    expect([verified.status, verified.body]).toMatchObject([200, { verifiedAt: expect.any(String), verification: null, version: 2 }]);
    expect((await call('GET', path)).body).toEqual(verified.body);
    for (const again of ['verify', 'send-code']) {
      expect((await call('POST', `${path}/${again}`, again === 'verify' ? { code: '271828' } : undefined)).body['code']).toBe(
        'wrong_state',
      );
    }
    expect(sender).toMatch(/^chn_/);
  });

  test('without a sender is created all the same, and says why it is not verified', async () => {
    const { status, body } = await call('POST', '/contact-methods', address);
    expect([status, body['verification']]).toEqual([201, { state: 'no_sender', expiresAt: null }]);
    expect((await call('POST', `/contact-methods/${body['id']}/send-code`)).body['code']).toBe('wrong_state');
    await buildSender();
    expect((await call('GET', `/contact-methods/${body['id']}`)).body['verification'].state).toBe('code_needed');
    const answer = await call('POST', `/contact-methods/${body['id']}/send-code`);
    expect([answer.status, answer.body]).toEqual([
      200,
      { success: true, statusCode: 250, errorCode: null, detail: 'queued', durationMs: 3 },
    ]);
    expect((await call('GET', `/contact-methods/${body['id']}`)).body['verification'].state).toBe('code_sent');
  });

  test('is not verified by a wrong code; five of them void the right one', async () => {
    await buildSender();
    const path = `/contact-methods/${await addAddress()}`;
    for (const left of [4, 3, 2, 1, 0]) {
      const wrong = await call('POST', `${path}/verify`, { code: '000000' });
      expect([wrong.status, wrong.body['errors']]).toEqual([
        422,
        [{ pointer: '/code', code: 'wrong_code', detail: `is not the code; ${left} more tries` }],
      ]);
    }
    expect((await call('POST', `${path}/verify`, { code: '271828' })).body['code']).toBe('wrong_state');
    expect((await call('GET', path)).body['verification'].state).toBe('code_needed');
    await call('POST', `${path}/send-code`);
    expect((await call('POST', `${path}/verify`, { code: '271828' })).status).toBe(200);
  });

  test('guesses that come at once are all counted', async () => {
    await buildSender();
    const path = `/contact-methods/${await addAddress()}`;
    const guesses = await Promise.all(Array.from({ length: 12 }, () => call('POST', `${path}/verify`, { code: '000000' })));
    expect(guesses.map(({ status }) => status).toSorted()).toEqual([...Array<number>(7).fill(409), ...Array<number>(5).fill(422)]);
  });

  test('is not verified by a code that is older than ten minutes, or than another one', async () => {
    await buildSender();
    const id = await addAddress();
    const age = (minutes: number) =>
      inOrganization(api.orm, ours.id, (em) =>
        sql`update contact_code set expires_at = created_at + interval '10 min' - ${minutes} * interval '1 min'`.execute(em.getKysely()),
      );
    await age(10);
    expect((await call('POST', `/contact-methods/${id}/verify`, { code: '271828' })).body['code']).toBe('wrong_state');
    await age(0);
    const { uuid } = parseWireId(id)!;
    await inOrganization(api.orm, ours.id, (em) =>
      sql`insert into contact_code (id, org_id, contact_method_id, user_id, created_at, expires_at)
        select gen_random_uuid(), org_id, contact_method_id, user_id, created_at + interval '1 s', expires_at from contact_code where contact_method_id = ${uuid}`.execute(
        em.getKysely(),
      ),
    );
    expect((await call('POST', `/contact-methods/${id}/verify`, { code: '271828' })).body['code']).toBe('wrong_state');
  });

  test('codes are five an hour for a member, whatever the addresses, also when they are asked for at once', async () => {
    await buildSender();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => call('POST', '/contact-methods', { ...address, address: `a${i}@example.com` })),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 201, 201, 201, 201, 429, 429, 429]);
    const limited = answers.find(({ status }) => status === 429)!;
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(3500);
    await until(() => sent.length === 5);
    const { body } = answers.find(({ status }) => status === 201)!;
    await call('DELETE', `/contact-methods/${body['id']}`);
    expect((await call('POST', '/contact-methods', { ...address, address: 'b@example.com' })).status).toBe(429);
  });

  test('is taken once, in any spelling, and free after deletion', async () => {
    const { body } = await call('POST', '/contact-methods', address);
    const again = await call('POST', '/contact-methods', { ...address, address: 'Ada@Phone.Example.com' });
    expect([again.status, again.body['code'], codesOf(again)]).toEqual([409, 'duplicate_name', ['/address duplicate_address']]);
    expect((await call('DELETE', `/contact-methods/${body['id']}`)).status).toBe(204);
    expect((await call('GET', `/contact-methods/${body['id']}`)).status).toBe(404);
    expect((await call('POST', '/contact-methods', address)).status).toBe(201);
  });

  test('tells every fault at once', async () => {
    const answer = await call('POST', '/contact-methods', {
      channelType: 'slack',
      address: 'x',
      digestInterval: 'PT7M',
      dailyAt: '24:00',
      page: 1,
    });
    expect(codesOf(answer)).toEqual([
      '/channelType unknown_value',
      '/address invalid_format',
      '/page invalid_type',
      '/digestInterval unknown_value',
      '/dailyAt invalid_format',
    ]);
  });

  test('stands in no audit entry in clear, and what an entry tells of it belongs to its member', async () => {
    const created = await call('POST', '/contact-methods', address);
    const { body: entry } = await call('GET', `/audit-logs/${created.headers.get('tocsin-audit-id')}`);
    expect(entry).toMatchObject({
      action: 'contact_method.create',
      class: 'iam',
      resource: { id: created.body['id'], name: address.address },
    });
    expect(entry['canonical']).not.toContain(address.address);
    expect(Object.keys(entry['commitments'])).toEqual(expect.arrayContaining(['after', 'resource.name']));
    const { rows } = await inOrganization(api.orm, ours.id, (em) =>
      sql<{ subject_ids: string[] }>`select subject_ids from audit.entry_private where id = ${parseWireId(entry['id'])!.uuid}`.execute(
        em.getKysely(),
      ),
    );
    expect(rows[0]?.subject_ids).toEqual([ours.ownerId]);
  });
});

test('a contact method of another member, or organization, is unknown, and stays as it is', async () => {
  await buildSender();
  const id = await addAddress();
  const colleague = await api.buildMember(ours, 'owner');
  const stranger = await api.buildOrganization('Theirs');
  for (const key of [colleague.key, stranger.key]) {
    expect((await call('GET', '/contact-methods', undefined, key)).body['data']).toHaveLength(1);
    const attempts = [
      await call('GET', `/contact-methods/${id}`, undefined, key),
      await call('PATCH', `/contact-methods/${id}`, { page: true }, key),
      await call('DELETE', `/contact-methods/${id}`, undefined, key),
      await call('POST', `/contact-methods/${id}/send-code`, undefined, key),
      await call('POST', `/contact-methods/${id}/verify`, { code: '271828' }, key),
    ];
    expect(attempts.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
  }
  expect((await call('GET', `/contact-methods/${id}`)).body).toMatchObject({ page: false, verifiedAt: null, version: 1 });
});

test('service accounts have no contact methods', async () => {
  const { body: account } = await call('POST', '/service-accounts', { name: 'ci', permissions: [] });
  const { body: created } = await call('POST', '/api-keys', { name: 'k', ownerId: account['id'] });
  expect((await call('POST', '/contact-methods', address, created['key'])).status).toBe(403);
  expect((await call('GET', '/contact-methods', undefined, created['key'])).body['data']).toEqual([]);
});

describe('senders of the organization', () => {
  test('are channels of the type that they send to', async () => {
    const { body: slack } = await call('POST', '/channels', { name: 'S', type: 'slack', settings: { webhookUrl: 'http://127.0.0.1:9/x' } });
    const set = (id: unknown) => call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
    expect(codesOf(await set(slack['id']))).toEqual(['/settings/senderChannels/email wrong_type']);
    expect(codesOf(await set(toWireId('channel', ours.id)))).toEqual(['/settings/senderChannels/email unknown_channel']);
    const theirs = await api.buildOrganization('Theirs');
    const foreign = await api.request('POST', '/channels', { key: theirs.key, body: { name: 'M', type: 'in_app' } });
    expect(codesOf(await set(foreign.body['id']))).toEqual(['/settings/senderChannels/email unknown_channel']);
    const sender = await buildSender();
    expect((await call('GET', '/organization')).body['settings']).toEqual({ senderChannels: { email: sender } });
    expect((await set(null)).body['settings']).toEqual({});
  });

  test('stand beside how long a problem stays open', async () => {
    const set = (problemTtl: unknown) => call('PATCH', '/organization', { settings: { problemTtl } });
    expect((await set('PT36H')).body['settings']).toEqual({ problemTtl: 'P1DT12H' });
    expect(codesOf(await set('PT59M'))).toEqual(['/settings/problemTtl too_small']);
    expect(codesOf(await set('P31D'))).toEqual(['/settings/problemTtl too_big']);
    expect((await set(null)).body['settings']).toEqual({});
  });
});
