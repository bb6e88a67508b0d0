import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { insertLinkTokens, type LinkTokenRow, renderToken, takeLinkToken } from '../../db/queries/link-token.ts';
import { createSecretBox } from '../../db/secrets.ts';
import { inOrganization } from '../../db/tenant.ts';
import { toWireId } from '../../domain/id.ts';
import { makeLinkToken } from '../../domain/link-token.ts';
import { createStage, type OpenEscalation } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestApi, TestOrganization } from './start-api.ts';

const secretKeys = [{ id: 'old', key: randomBytes(32) }];
let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
beforeAll(async () => {
  api = await startApi({ secretKeys });
  ours = await api.buildOrganization('Ours');
  stage = createStage(api);
});
afterAll(() => api.stop());

interface Link {
  row: LinkTokenRow;
  token: string;
}

/** A link to the escalation's first firing, as a page would carry it. */
async function buildLink({ organization, uuid }: OpenEscalation, { userId = ours.ownerId, at = Date.now() } = {}): Promise<Link> {
  const target = { escalationId: uuid, firing: 1, userId };
  const row = await inOrganization(api.orm, organization.id, async (em) => {
    await insertLinkTokens(organization.id, [target, target], at).execute(em.getKysely());
    return takeLinkToken(em, organization.id, target, api.deps.secrets);
  });
  return { row: row!, token: renderToken(row!, api.deps.secrets) };
}

const confirm = { method: 'POST', body: new URLSearchParams({ confirm: '1' }), headers: { 'User-Agent': 'Phone/1' } };
async function visit(token: string, init: RequestInit = {}) {
  const response = await fetch(`${api.url}/l/${token}`, init);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Everything that an acknowledgement changes. */
async function trace(escalation: OpenEscalation) {
  const { organization, uuid } = escalation;
  const { rows } = await inOrganization(api.orm, organization.id, async (em) =>
    sql`select (select json_agg(t order by t.id) from link_token t where t.escalation_id = ${uuid}) as links,
      (select count(*) from audit.entry) as entries`.execute(em.getKysely()),
  );
  return { ...(rows[0] as object), escalation: await escalation.read(), timeline: await escalation.read('/timeline') };
}

async function commandEntries({ organization, id }: OpenEscalation) {
  const query = `/audit-logs?action=escalation.acknowledge&resource=escalation:${id}`;
  const { body } = await api.request('GET', query, { key: organization.key });
  return Promise.all(
    body['data'].map(async ({ id }: { id: string }) => (await api.request('GET', `/audit-logs/${id}`, { key: organization.key })).body),
  ) as Promise<Array<Record<string, any>>>; // oxlint-disable-line no-explicit-any -- asserted, not typed
}

describe('a link', () => {
  test('changes nothing however often it is followed; its form acknowledges once', async () => {
    const escalation = await stage.openEscalation(ours, { event: { severity: 'critical', subject: 'Disk <b>full</b> & "hot"' } });
    const { row, token } = await buildLink(escalation);
    const before = await trace(escalation);
    for (let i = 0; i < 100; i += 1) expect((await visit(token, { method: i % 2 === 0 ? 'GET' : 'HEAD' })).status).toBe(200);
    expect(await trace(escalation)).toEqual(before);

    const asked = await visit(token);
    expect(asked.text).toContain('Acknowledge this escalation?');
    expect(asked.text).toContain('Disk &lt;b&gt;full&lt;/b&gt; &amp; &quot;hot&quot;');
    expect(asked.text).toContain('<dd>Critical</dd>');
    expect(asked.text).toContain('You are asked as owner.');
    expect(asked.text.match(/<button/g)).toHaveLength(1);
    expect(asked.text).not.toContain(token);

    const done = await visit(token, confirm);
    expect(done).toMatchObject({ status: 200, text: expect.stringContaining('Acknowledged by owner at ') });
    expect(done.text).not.toContain('<button');
    expect(await escalation.read()).toMatchObject({ state: 'acknowledged', acknowledgedBy: { id: toWireId('user', ours.ownerId) } });
    const after = await trace(escalation);

    const again = await visit(token, confirm);
    expect(again).toMatchObject({ status: 200, text: expect.stringContaining('Already acknowledged by owner at ') });
    expect((await visit(token)).text).toContain('Already acknowledged by owner at ');
    expect(await trace(escalation)).toEqual(after);

    const entries = await commandEntries(escalation);
    expect(entries).toMatchObject([
      {
        status: 'success',
        actor: { type: 'user', id: toWireId('user', ours.ownerId), name: 'owner' },
        ip: '127.0.0.1',
        userAgent: 'Phone/1',
        details: { path: 'link', proof: 'link_token', linkId: row.id, firing: 1, already: false },
      },
    ]);
    expect(after.timeline['data'].filter(({ proof }: { proof: string }) => proof === 'link_token')).toMatchObject([
      { kind: 'acknowledged' },
    ]);
    expect(JSON.stringify([entries, api.logLines])).not.toContain(token);
  });

  test('pressed twice at the same time acknowledges once', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation);
    const answers = await Promise.all([1, 2, 3, 4].map(() => visit(token, confirm)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(answers.filter(({ text }) => text.includes('Already acknowledged by owner'))).toHaveLength(3);
    expect(await commandEntries(escalation)).toHaveLength(1);
    expect(await escalation.read()).toMatchObject({ state: 'acknowledged', version: 2 });
  });

  test('page loads and runs nothing, is kept by nobody and tells nobody where it was', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation);
    for (const { headers, text } of [await visit(token), await visit(token.replace(/^./, '_')), await visit(token, confirm)]) {
      expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('x-robots-tag')).toContain('noindex');
      const style = createHash('sha256')
        .update(/<style>(.*)<\/style>/s.exec(text)![1]!)
        .digest('base64');
      expect(headers.get('content-security-policy')).toBe(
        `default-src 'none'; style-src 'sha256-${style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      );
      expect(text).not.toMatch(/<script|style="|src=|javascript:/);
    }
    expect((await visit(token, { method: 'PUT' })).status).toBe(405);
  });

  test('needs the word of the form', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation);
    expect((await visit(token, { method: 'POST' })).status).toBe(400);
    expect((await visit(token, { ...confirm, body: new URLSearchParams({ confirm: '0' }) })).status).toBe(400);
    expect((await visit(token, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } })).status).toBe(415);
    expect((await visit(token, { ...confirm, body: new URLSearchParams({ confirm: '1', x: 'x'.repeat(5_000) }) })).status).toBe(413);
    expect((await escalation.read())['state']).toBe('triggered');
  });

  test('is over after 72 hours, used or not', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation, { at: Date.now() - 72 * 3_600_000 });
    for (const init of [{}, confirm])
      expect(await visit(token, init)).toMatchObject({ status: 410, text: expect.stringContaining('expired') });
    expect((await escalation.read())['state']).toBe('triggered');
    const live = await stage.openEscalation(ours);
    expect((await visit((await buildLink(live, { at: Date.now() - 71 * 3_600_000 })).token, confirm)).status).toBe(200);
  });

  test('tells how things stand when somebody else was there first, or it is over', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation);
    await escalation.command('snooze', { for: 'PT1H' });
    expect((await visit(token)).text).toMatch(/<dd>Snoozed<\/dd>.*<dt>Until<\/dt>.*<button/s);
    await escalation.command('acknowledge');
    expect((await visit(token)).text).toContain('Already acknowledged by owner');
    expect((await visit(token, confirm)).text).toContain('Already acknowledged by owner');
    expect(await commandEntries(escalation)).toContainEqual(
      expect.objectContaining({ details: expect.objectContaining({ path: 'link', already: true }) }),
    );
    await escalation.command('resolve');
    expect(await visit(token)).toMatchObject({ status: 200, text: expect.stringContaining('Already resolved') });
  });

  test('that was used says so when the escalation has begun anew', async () => {
    const escalation = await stage.openEscalation(ours);
    const { token } = await buildLink(escalation);
    await visit(token, confirm);
    await escalation.command('unacknowledge');
    const { status, text } = await visit(token, confirm);
    expect(status).toBe(200);
    expect(text).toContain('This link has been used');
    expect(text).toContain('Not acknowledged');
    expect((await escalation.read())['state']).toBe('triggered');
  });

  test('is not enough for a policy that wants more; it can still be used when that changes', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { minProof: 'no_link' } });
    const { row, token } = await buildLink(escalation);
    expect((await visit(token, confirm)).status).toBe(403);
    expect((await escalation.read())['state']).toBe('triggered');
    expect(await commandEntries(escalation)).toMatchObject([{ status: 'blocked', reason: 'proof_too_weak' }]);
    const { rows } = await inOrganization(api.orm, ours.id, async (em) =>
      sql<{ used: boolean }>`select used_at is not null as used from link_token where id = ${row.id}`.execute(em.getKysely()),
    );
    expect(rows).toEqual([{ used: false }]);
  });
});

describe('what fits no link', () => {
  test('is unknown alike, whatever is wrong with it; ten a minute are answered, and good ones always', async () => {
    const own = await startApi({ secretKeys });
    try {
      const organization = await own.buildOrganization();
      const member = await own.buildMember(organization, 'member');
      const escalation = await createStage(own).openEscalation(organization);
      const build = async (userId: string) => {
        const target = { escalationId: escalation.uuid, firing: 1, userId };
        const row = await inOrganization(own.orm, organization.id, async (em) => {
          await insertLinkTokens(organization.id, [target], Date.now()).execute(em.getKysely());
          return takeLinkToken(em, organization.id, target, own.deps.secrets);
        });
        return { row: row!, token: renderToken(row!, own.deps.secrets) };
      };
      const good = await build(organization.ownerId);
      const left = await build(member.id);
      expect((await own.request('POST', `/members/${toWireId('user', member.id)}/disable`, { key: organization.key })).status).toBe(200);
      const forge = (bytes: Buffer) => bytes.toString('base64url');
      const genuine = Buffer.from(good.token, 'base64url');
      const get = async (token: string, init: RequestInit = {}) => {
        const response = await fetch(`${own.url}/l/${token}`, init);
        return { status: response.status, text: await response.text(), retryAfter: response.headers.get('retry-after') };
      };
      const bad = [
        forge(Buffer.concat([genuine.subarray(0, 16), randomBytes(32)])),
        forge(Buffer.concat([randomBytes(16), genuine.subarray(16)])),
        makeLinkToken(randomBytes(32), good.row.id, good.row),
        makeLinkToken(own.deps.secrets.deriveKey('tocsin-link-v1', 'old'), good.row.id, { ...good.row, expiresAt: good.row.expiresAt + 1 }),
        left.token,
        'short',
      ];
      const answers = await Promise.all(bad.map((token) => get(token)));
      for (const { status, text } of answers) expect([status, text]).toEqual([404, answers[0]!.text]);
      expect((await get(bad[0]!, confirm)).status).toBe(404);
      for (let i = 0; i < 3; i += 1) expect((await get(bad[0]!)).status).toBe(404);
      for (const init of [{}, confirm]) {
        const { status, retryAfter } = await get(bad[0]!, init);
        expect(status).toBe(429);
        expect(Number(retryAfter)).toBeGreaterThan(0);
      }
      expect((await get(good.token)).status).toBe(200);
      expect((await escalation.read())['state']).toBe('triggered');
    } finally {
      await own.stop();
    }
  });

  test("is also a link that was moved to another organization's row, and rows are seen by their own organization alone", async () => {
    const theirs = await api.buildOrganization('Theirs');
    const escalation = await stage.openEscalation(theirs);
    const { row, token } = await buildLink(escalation, { userId: theirs.ownerId });
    const seen = async (organizationId: string) =>
      inOrganization(api.orm, organizationId, async (em) => {
        const target = { escalationId: escalation.uuid, firing: 1, userId: theirs.ownerId };
        const { rows } = await sql`select id from link_token where id = ${row.id}`.execute(em.getKysely());
        return { rows: rows.length, taken: await takeLinkToken(em, organizationId, target, api.deps.secrets) };
      });
    expect(await seen(ours.id)).toEqual({ rows: 0, taken: undefined });
    expect(await seen(theirs.id)).toEqual({ rows: 1, taken: row });
    const insert = inOrganization(api.orm, ours.id, async (em) =>
      insertLinkTokens(theirs.id, [{ escalationId: escalation.uuid, firing: 9, userId: theirs.ownerId }], Date.now()).execute(
        em.getKysely(),
      ),
    );
    await expect(insert).rejects.toThrow(/row-level security/);
    const key = api.deps.secrets.deriveKey('tocsin-link-v1', row.keyId);
    expect((await visit(makeLinkToken(key, row.id, { ...row, organizationId: ours.id }), confirm)).status).toBe(404);
    expect((await visit(token, confirm)).status).toBe(200);
    expect((await escalation.read())['state']).toBe('acknowledged');
  });
});

test('a message carries the same link at every attempt, also after the keys were rotated', async () => {
  const escalation = await stage.openEscalation(ours);
  const { row, token } = await buildLink(escalation);
  const rotated = createSecretBox([{ id: 'new', key: randomBytes(32) }, ...secretKeys]);
  const again = await inOrganization(api.orm, ours.id, async (em) => takeLinkToken(em, ours.id, row, rotated));
  expect(renderToken(again!, rotated)).toBe(token);
  expect(() => renderToken(row, createSecretBox([{ id: 'new', key: randomBytes(32) }]))).toThrow('No key "old"');
});
