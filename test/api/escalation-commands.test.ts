import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import pg from 'pg';
import { ContactMethodEntity } from '../../db/entities/contact-method.ts';
import { inOrganization } from '../../db/tenant.ts';
import { fromWireId, newId, toWireId } from '../../domain/id.ts';
import { createStage, type OpenEscalation } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  stage = createStage(api);
});
afterAll(() => api.stop());

const expected = { round: 1, tier: 1 };
const snoozed = { for: 'PT1H' };
/** How an escalation comes into each state. */
const states: Readonly<Record<string, (escalation: OpenEscalation) => Promise<unknown>>> = {
  triggered: async () => undefined,
  acknowledged: async (escalation) => escalation.command('acknowledge'),
  snoozed: async (escalation) => escalation.command('snooze', snoozed),
  exhausted: async (escalation) => escalation.elapse(),
  resolved: async (escalation) => escalation.command('resolve'),
};

/** In a state. What is due next ends the climb of a policy with one tier. */
async function openIn(state: string): Promise<OpenEscalation> {
  const tiers = [{ targets: [{ kind: 'webhook', id: await stage.buildWebhook(ours) }] }];
  const escalation = await stage.openEscalation(ours, state === 'exhausted' ? { policy: { tiers } } : {});
  await states[state]!(escalation);
  expect(await escalation.read()).toMatchObject({ state });
  return escalation;
}

async function auditOf(escalation: OpenEscalation, action: string) {
  const { key } = escalation.organization;
  const { body } = await api.request('GET', `/audit-logs?action=escalation.${action}&resource=escalation:${escalation.id}`, { key });
  const ids: string[] = body['data'].map(({ id }: { id: string }) => id);
  return Promise.all(ids.map(async (id) => (await api.request('GET', `/audit-logs/${id}`, { key })).body));
}

/** The entry that an answer names. */
async function auditEntry({ headers }: TestAnswer, { key } = ours) {
  return (await api.request('GET', `/audit-logs/${headers.get('tocsin-audit-id')}`, { key })).body;
}

const pagesOf = async (escalation: OpenEscalation): Promise<string[]> =>
  (await escalation.read())['firings'].flatMap(({ pages }: { pages: Array<{ state: string }> }) => pages.map(({ state }) => state));

const bodies: Readonly<Record<string, unknown>> = { escalate: { expected }, snooze: snoozed, rebase: { policyVersion: 1 } };

describe('every command in every state', () => {
  test.each<[string, string, number, string, boolean | null]>([
    ['triggered', 'acknowledge', 200, 'acknowledged', false],
    ['acknowledged', 'acknowledge', 200, 'acknowledged', true],
    ['snoozed', 'acknowledge', 200, 'acknowledged', false],
    ['exhausted', 'acknowledge', 200, 'acknowledged', false],
    ['resolved', 'acknowledge', 200, 'resolved', true],
    ['triggered', 'unacknowledge', 200, 'triggered', true],
    ['acknowledged', 'unacknowledge', 200, 'triggered', false],
    ['snoozed', 'unacknowledge', 200, 'snoozed', true],
    ['exhausted', 'unacknowledge', 200, 'exhausted', true],
    ['resolved', 'unacknowledge', 200, 'resolved', true],
    ['triggered', 'resolve', 200, 'resolved', false],
    ['acknowledged', 'resolve', 200, 'resolved', false],
    ['snoozed', 'resolve', 200, 'resolved', false],
    ['exhausted', 'resolve', 200, 'resolved', false],
    ['resolved', 'resolve', 200, 'resolved', true],
    ['triggered', 'escalate', 200, 'triggered', false],
    ['acknowledged', 'escalate', 200, 'triggered', false],
    ['snoozed', 'escalate', 200, 'triggered', false],
    ['exhausted', 'escalate', 200, 'triggered', false],
    ['resolved', 'escalate', 409, 'wrong_state', null],
    ['triggered', 'snooze', 200, 'snoozed', false],
    ['acknowledged', 'snooze', 200, 'snoozed', false],
    ['snoozed', 'snooze', 200, 'snoozed', false],
    ['exhausted', 'snooze', 409, 'wrong_state', null],
    ['resolved', 'snooze', 409, 'wrong_state', null],
    ['triggered', 'reassign', 200, 'triggered', false],
    ['acknowledged', 'reassign', 200, 'triggered', false],
    ['snoozed', 'reassign', 200, 'triggered', false],
    ['exhausted', 'reassign', 200, 'triggered', false],
    ['resolved', 'reassign', 409, 'wrong_state', null],
    ['triggered', 'rebase', 200, 'triggered', true],
    ['acknowledged', 'rebase', 200, 'acknowledged', true],
    ['snoozed', 'rebase', 200, 'snoozed', true],
    ['exhausted', 'rebase', 200, 'exhausted', true],
    ['resolved', 'rebase', 409, 'wrong_state', null],
  ])('%s: %s answers %i %s', async (state, command, status, outcome, already) => {
    const escalation = await openIn(state);
    const before = await escalation.read();
    const body = command === 'reassign' ? { policyId: escalation.policyId } : bodies[command];
    const answer = await escalation.command(command, body);
    expect(answer.status).toBe(status);
    const { events: _e, firings: _f, ...after } = await escalation.read();
    if (status === 200) {
      const { state: now, version, round, tier, dueAt } = after as Record<string, unknown>;
      expect(answer.body).toEqual({ state: now, version, round, tier, dueAt, already });
      expect(now).toBe(outcome);
      expect(await auditEntry(answer)).toMatchObject({ action: `escalation.${command}`, status: 'success', details: { already } });
      expect(version).toBe(before['version'] + (already ? 0 : 1));
    } else {
      expect(answer.body).toMatchObject({ code: outcome, detail: `Not possible: the escalation is ${state}.` });
      expect(after).toEqual({ ...after, state: before['state'], version: before['version'] });
    }
  });
});

describe('a command', () => {
  test('is audited with its actor, path and proof, the note and what came of it, and wakes the workflow', async () => {
    const escalation = await stage.openEscalation(ours);
    api.announced.length = 0;
    const answer = await escalation.command('acknowledge', { note: 'On it.' }, { headers: { 'User-Agent': 'pager/1' } });
    const entries = await auditOf(escalation, 'acknowledge');
    expect(entries).toHaveLength(1);
    expect(answer.headers.get('tocsin-audit-id')).toBe(entries[0]!['id']);
    const { already, ...result } = answer.body;
    expect(entries[0]).toMatchObject({
      status: 'success',
      actor: { type: 'user', id: toWireId('user', ours.ownerId) },
      ip: '127.0.0.1',
      userAgent: 'pager/1',
      correlation: { escalationId: expect.any(String), eventId: escalation.eventId },
      details: { path: 'rest', proof: 'api_key', already, note: 'On it.', extend: false, result },
    });
    expect(await escalation.read()).toMatchObject({ acknowledgedBy: { type: 'user', id: toWireId('user', ours.ownerId) } });
    expect(api.announced).toMatchObject([{ escalationId: escalation.uuid, organizationId: ours.id, version: answer.body['version'] }]);
  });

  test('that changes nothing is audited all the same', async () => {
    const escalation = await openIn('resolved');
    expect((await escalation.command('acknowledge')).body).toMatchObject({ state: 'resolved', already: true });
    expect(await auditOf(escalation, 'acknowledge')).toMatchObject([{ status: 'success', details: { already: true } }]);
  });

  test('with an Idempotency-Key is done once; what was refused may be tried again', async () => {
    const escalation = await stage.openEscalation(ours);
    const headers = { 'Idempotency-Key': 'once' };
    const first = await escalation.command('escalate', { expected }, { headers });
    const again = await escalation.command('escalate', { expected }, { headers });
    expect([first.status, again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 200, 'true']);
    expect(again.text).toBe(first.text);
    expect(await escalation.read()).toMatchObject({ tier: 2 });
    const other = await escalation.command('escalate', { expected: { round: 1, tier: 2 } }, { headers });
    expect([other.status, other.body['code']]).toEqual([409, 'idempotency_key_reused']);

    const retry = { headers: { 'Idempotency-Key': 'retry' } };
    const wanted = { expected: { round: 1, tier: 3 } };
    expect((await escalation.command('escalate', wanted, retry)).body['code']).toBe('tier_mismatch');
    await escalation.command('escalate', { expected: { round: 1, tier: 2 } });
    expect((await escalation.command('escalate', wanted, retry)).body).toMatchObject({ round: 2, tier: 1 });
  });

  test("on another organization's escalation is unknown, and changes nothing", async () => {
    const theirs = await api.buildOrganization('Theirs');
    const escalation = await stage.openEscalation(theirs);
    const before = await escalation.read();
    for (const command of ['acknowledge', 'unacknowledge', 'resolve', 'escalate', 'snooze', 'reassign', 'rebase']) {
      const body = command === 'reassign' ? { policyId: escalation.policyId } : bodies[command];
      const { status } = await escalation.command(command, body, { key: ours.key });
      expect([command, status]).toEqual([command, 404]);
    }
    expect(await escalation.read()).toEqual(before);
    expect((await escalation.read('/timeline'))['data']).toHaveLength(2);
  });

  test('tells all faults of its body', async () => {
    const escalation = await stage.openEscalation(ours);
    const faultsOf = async (command: string, body: unknown) => {
      const answer = await escalation.command(command, body);
      expect(answer.status).toBe(422);
      return answer.body['errors'].map(({ pointer, code }: { pointer: string; code: string }) => `${pointer} ${code}`);
    };
    const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
    expect(await faultsOf('snooze', {})).toEqual([' exactly_one']);
    expect(await faultsOf('snooze', { for: 'PT1H', until: inMs(3_600_000) })).toEqual([' exactly_one']);
    expect(await faultsOf('snooze', { for: 'PT59S' })).toEqual(['/for too_small']);
    expect(await faultsOf('snooze', { for: 'P8D' })).toEqual(['/for too_big']);
    expect(await faultsOf('snooze', { until: inMs(30_000) })).toEqual(['/until too_small']);
    expect(await faultsOf('snooze', { until: inMs(8 * 86_400_000) })).toEqual(['/until too_big']);
    expect(await faultsOf('snooze', { for: 'P7D' })).toEqual([' after_hard_stop']);
    expect(await faultsOf('escalate', { expected: { round: 0, tier: -1 }, toTier: 11 })).toHaveLength(3);
    expect(await faultsOf('escalate', { expected, toTier: 4 })).toEqual(['/toTier unknown_tier']);
    expect(await faultsOf('reassign', {})).toEqual([' exactly_one']);
    expect(await faultsOf('reassign', { policyId: toWireId('escalation_policy', newId(0)) })).toEqual(['/policyId unknown_policy']);
    const unknown = { kind: 'user', id: toWireId('user', newId(0)) };
    expect(await faultsOf('reassign', { targets: [unknown] })).toEqual(['/targets/0/id unknown_user']);
    expect(await faultsOf('rebase', { policyVersion: 7 })).toEqual(['/policyVersion unknown_version']);
    expect(await faultsOf('acknowledge', { note: 'x'.repeat(1001), extended: true })).toEqual(['/note too_big', '/extended unknown_field']);
    expect(await escalation.read()).toMatchObject({ state: 'triggered', version: 1 });
  });

  test('moves to a certain tier, other targets or another policy, whose version it pins', async () => {
    const escalation = await stage.openEscalation(ours);
    expect((await escalation.command('escalate', { expected, toTier: 3 })).body).toMatchObject({ round: 1, tier: 3 });
    const target = { kind: 'webhook', id: await stage.buildWebhook(ours) };
    expect((await escalation.command('reassign', { targets: [target] })).body).toMatchObject({ state: 'triggered', tier: 1 });
    expect((await escalation.read())['firings'].at(-1)).toMatchObject({ reason: 'reassign', targets: [target] });
    const policyId = await stage.buildPolicy(ours);
    await escalation.command('reassign', { policyId });
    expect(await escalation.read()).toMatchObject({ policy: { id: policyId, version: 1 }, tier: 1 });
  });

  test('rebases to any version of the policy; a dry run tells what would be and leaves all as it is', async () => {
    const escalation = await stage.openEscalation(ours);
    const { tiers } = (await api.request('GET', `/escalation-policies/${escalation.policyId}`, { key: ours.key })).body;
    const edit = async (timeout: string) => {
      const body = { tiers: tiers.map((tier: object) => ({ ...tier, timeout })) };
      const answer = await api.request('PATCH', `/escalation-policies/${escalation.policyId}?force=true`, { key: ours.key, body });
      expect(answer.status).toBe(200);
    };
    await edit('PT20M');
    await edit('PT30M');
    const before = await escalation.read();
    const firedAt = Date.parse(before['openedAt']);
    api.announced.length = 0;
    const tried = await escalation.command('rebase', { policyVersion: 2, dryRun: true });
    expect(tried.body).toMatchObject({ state: 'triggered', version: 2, dueAt: new Date(firedAt + 20 * 60_000).toISOString() });
    expect(await escalation.read()).toEqual(before);
    expect(api.announced).toEqual([]);
    expect((await escalation.command('rebase', { policyVersion: 2 })).body).toEqual(tried.body);
    expect(await escalation.read()).toMatchObject({ policy: { version: 2 } });
    const back = await escalation.command('rebase', { policyVersion: 1 });
    expect(back.body['dueAt']).toBe(before['dueAt']);
    expect(await auditOf(escalation, 'rebase')).toContainEqual(
      expect.objectContaining({ details: expect.objectContaining({ dryRun: true }) }),
    );
  });
});

describe('who may', () => {
  test('holders of escalations.acknowledge; nobody else whom it did not page, which is audited as blocked', async () => {
    const escalation = await stage.openEscalation(ours);
    const without = await api.buildKey(ours, ['events.view']);
    const refused = await escalation.command('acknowledge', undefined, { key: without });
    expect([refused.status, refused.body['code']]).toEqual([403, 'permission_denied']);
    expect(await escalation.read()).toMatchObject({ state: 'triggered', version: 1 });
    expect(await auditEntry(refused)).toMatchObject({ action: 'escalation.acknowledge', status: 'blocked', reason: 'permission_denied' });
    const held = await api.buildKey(ours, ['escalations.acknowledge']);
    expect((await escalation.command('acknowledge', undefined, { key: held })).status).toBe(200);
  });

  test('a member whom it told in the app, whatever the role', async () => {
    const [paged, other] = [await api.buildMember(ours, 'auditor'), await api.buildMember(ours, 'auditor')];
    const target = { kind: 'webhook', id: await stage.buildWebhook(ours) };
    const tiers = [{ targets: [{ kind: 'user', id: toWireId('user', paged.id) }, target] }];
    const escalation = await stage.openEscalation(ours, { policy: { tiers } });
    expect((await escalation.command('acknowledge', undefined, { key: other.key })).status).toBe(403);
    expect((await escalation.command('acknowledge', undefined, { key: paged.key })).status).toBe(200);
    expect((await escalation.read())['acknowledgedBy']).toEqual({ type: 'user', id: toWireId('user', paged.id) });
  });

  test('a member whose contact method got a page', async () => {
    const organization = await api.buildOrganization();
    const settings = { host: '127.0.0.1', port: 25, security: 'none', from: 'a@example.com' };
    const { body: sender } = await api.request('POST', '/channels', {
      key: organization.key,
      body: { name: 'sender', type: 'email', settings },
    });
    await api.request('PATCH', '/organization', { key: organization.key, body: { settings: { senderChannels: { email: sender['id'] } } } });
    const paged = await api.buildMember(organization, 'auditor');
    const contact = await api.request('POST', '/contact-methods', {
      key: paged.key,
      body: { channelType: 'email', address: 'paged@example.com', page: true },
    });
    const contactId: string = contact.body['id'];
    await inOrganization(api.orm, organization.id, (em) =>
      em.nativeUpdate(ContactMethodEntity, { id: fromWireId('contact_method', contactId)! }, { verifiedAt: new Date() }),
    );
    const tiers = [{ targets: [{ kind: 'user', id: toWireId('user', paged.id) }] }];
    const escalation = await stage.openEscalation(organization, { policy: { tiers } });
    const [firing] = (await escalation.read())['firings'];
    expect(firing.pages).toContainEqual(
      expect.objectContaining({
        recipient: { kind: 'contact', id: contactId, userId: toWireId('user', paged.id) },
        channelType: 'email',
      }),
    );
    await inOrganization(api.orm, organization.id, (em) => sql`delete from notification`.execute(em.getKysely()));
    expect((await escalation.command('resolve', undefined, { key: paged.key })).status).toBe(200);
  });

  test('none by an API key where the policy asks for a session, which is audited as blocked', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { minProof: 'session' } });
    const refused = await escalation.command('acknowledge');
    expect([refused.status, refused.body['code']]).toEqual([403, 'proof_too_weak']);
    expect(await escalation.read()).toMatchObject({ state: 'triggered', version: 1 });
    expect(await auditEntry(refused)).toMatchObject({ action: 'escalation.acknowledge', status: 'blocked', reason: 'proof_too_weak' });
  });
});

/** Holds the lock of the escalation's group until released. */
async function holdGroup({ uuid }: OpenEscalation) {
  const [holder, observer] = [new pg.Client({ connectionString: api.databaseUrl }), new pg.Client({ connectionString: api.databaseUrl })];
  await Promise.all([holder.connect(), observer.connect()]);
  await holder.query('begin');
  await holder.query('select from escalation_group where id = (select group_id from escalation where id = $1) for update', [uuid]);
  let ended: Promise<unknown> | undefined;
  return {
    /** Until so many others wait for locks. Asked outside the holder's transaction, which would see the same activity for ever. */
    async waitFor(length: number) {
      for (const deadline = Date.now() + 10_000; Date.now() < deadline; await new Promise((done) => setTimeout(done, 10))) {
        const { rows } = await observer.query(
          `select pid from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
        );
        if (rows.length >= length) return;
      }
      throw new Error(`${length} did not come to wait`);
    },
    release: async () => (ended ??= Promise.all([holder.end(), observer.end()])),
  };
}

async function openProblems({ uuid }: OpenEscalation): Promise<number> {
  const { rows } = await inOrganization(api.orm, ours.id, (em) =>
    sql`select from problem p join escalation_member m on m.key = p.id where m.escalation_id = ${uuid} and p.ended_at is null`.execute(
      em.getKysely(),
    ),
  );
  return rows.length;
}

describe('at the same time', () => {
  test('two presses of escalate advance one tier', async () => {
    const organization = await api.buildOrganization();
    const escalation = await stage.openEscalation(organization);
    const answers = await Promise.all([escalation.command('escalate', { expected }), escalation.command('escalate', { expected })]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    const late = answers.find(({ status }) => status === 409)!;
    expect(late.body).toMatchObject({ code: 'tier_mismatch', detail: 'The escalation is at round 1, tier 2.' });
    expect(await auditEntry(late, organization)).toMatchObject({
      action: 'escalation.escalate',
      status: 'failure',
      reason: 'tier_mismatch',
    });
    expect(await escalation.read()).toMatchObject({ round: 1, tier: 2 });
    expect(await pagesOf(escalation)).toHaveLength(2);
  });

  test('an acknowledgement and a due tier: no page may begin after the acknowledgement', async () => {
    for (let tries = 0; tries < 8; tries += 1) {
      const escalation = await stage.openEscalation(ours);
      const dueAt = Date.parse((await escalation.read())['dueAt']);
      const [answer] = await Promise.all([escalation.command('acknowledge'), escalation.elapse(dueAt)]);
      expect(answer.body).toMatchObject({ state: 'acknowledged', already: false });
      const kinds = (await escalation.read('/timeline'))['data'].map(({ kind }: { kind: string }) => kind);
      expect(kinds.slice(kinds.indexOf('acknowledged'))).not.toContain('tier_fired');
      expect(new Set(await pagesOf(escalation))).toEqual(new Set(['cancelled']));
      expect(await escalation.read()).toMatchObject({ state: 'acknowledged' });
    }
  });

  test('a resolve ends the problem that joins just before it, too', async () => {
    const escalation = await stage.openEscalation(ours);
    const group = await holdGroup(escalation);
    try {
      const joined = escalation.join();
      await group.waitFor(1);
      // It holds the locks of the problems that it knows of, and finds another one when its turn comes.
      const resolved = escalation.command('resolve', undefined, { headers: { 'Idempotency-Key': 'resolve-under-a-join' } });
      await group.waitFor(2);
      await group.release();
      expect([(await joined).status, (await resolved).status]).toEqual([202, 200]);
    } finally {
      await group.release();
    }
    const { state, events } = await escalation.read();
    expect(state).toBe('resolved');
    expect(events.map(({ firing }: { firing: boolean }) => firing)).toEqual([false, false]);
    expect(await openProblems(escalation)).toBe(0);
  });

  test('a resolve and problems that join: each ends with an escalation, or begins another', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { cooldown: 'PT0S' } });
    const joined = Array.from({ length: 6 }, () => escalation.join());
    const answers = await Promise.all([...joined.slice(0, 3), escalation.command('resolve'), ...joined.slice(3)]);
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 200, 202, 202, 202]);
    const { events } = await escalation.read();
    expect(events.filter(({ firing }: { firing: boolean }) => firing)).toEqual([]);
    const { rows } = await inOrganization(api.orm, ours.id, (em) =>
      sql<{ open: number; held: number }>`
        select count(*) filter (where p.ended_at is null)::int as open, count(*) filter (where p.ended_at is null and exists (
            select from escalation_member m join escalation e on e.id = m.escalation_id
              where m.key = p.id and m.firing and e.policy_id = ${fromWireId('escalation_policy', escalation.policyId)!}))::int as held
          from problem p join event ev on ev.id = p.first_event_id
          where ev.labels ->> 'group' = (select labels ->> 'group' from event where id = ${fromWireId('event', escalation.eventId)!})
      `.execute(em.getKysely()),
    );
    expect(rows[0]!.held).toBe(rows[0]!.open);
    expect(rows[0]!.open).toBe(7 - events.length);
  });
});
