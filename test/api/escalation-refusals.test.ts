import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toWireId } from '../../domain/id.ts';
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

type Shown = TestAnswer['body'];

/** What of the timeline tells of refusals. */
const refusalsOf = async (escalation: OpenEscalation): Promise<Shown[]> =>
  (await escalation.read('/timeline'))['data'].filter(({ kind }: Shown) => kind === 'refused');
async function entriesOf({ id }: OpenEscalation, action: string): Promise<Shown[]> {
  const { body } = await api.request('GET', `/audit-logs?action=escalation.${action}&resource=escalation:${id}`, { key: ours.key });
  return Promise.all(
    body['data'].map(async (entry: Shown) => (await api.request('GET', `/audit-logs/${entry['id']}`, { key: ours.key })).body),
  );
}

const elsewhere = { expected: { round: 3, tier: 2 } };

describe('a refused command', () => {
  test.each<[string, string, unknown, string, number, 'blocked' | 'failure']>([
    ['does not go with the state', 'snooze', { for: 'PT1H' }, 'wrong_state', 409, 'failure'],
    ['is for another position', 'escalate', elsewhere, 'tier_mismatch', 409, 'failure'],
    ['is not proven well enough', 'acknowledge', { note: 'Mine.' }, 'proof_too_weak', 403, 'blocked'],
  ])('that %s is in the timeline and in the audit log, and changes nothing', async (_, command, body, code, status, audited) => {
    const escalation = await stage.openEscalation(ours, { policy: { minProof: 'session' } });
    if (code === 'wrong_state') await escalation.command('resolve');
    const before = await escalation.read();
    const answer = await escalation.command(command, body, { headers: { 'User-Agent': 'pager/3' } });
    expect([answer.status, answer.body['code']]).toEqual([status, code]);
    expect(await escalation.read()).toEqual(before);
    const { state, round, tier } = before;
    const actor = { type: 'user', id: toWireId('user', ours.ownerId) };
    expect(await refusalsOf(escalation)).toEqual([
      expect.objectContaining({ kind: 'refused', reason: code, state, round, tier, actor, proof: 'api_key' }),
    ]);
    const entries = await entriesOf(escalation, command);
    expect(entries).toMatchObject([
      {
        status: audited,
        reason: code,
        actor,
        userAgent: 'pager/3',
        http: { status },
        resource: { type: 'escalation', id: escalation.id },
        correlation: { escalationId: escalation.id, eventId: escalation.eventId },
        details: { path: 'rest', proof: 'api_key' },
      },
    ]);
    expect(answer.headers.get('tocsin-audit-id')).toBe(entries[0]!['id']);
  });

  test.each<[string, unknown, string]>([
    ['snooze', { for: 'PT90M' }, 'after_hard_stop'],
    ['escalate', { expected: { round: 1, tier: 1 }, toTier: 9 }, 'unknown_tier'],
    ['rebase', { policyVersion: 7 }, 'unknown_policy'],
  ])('that is merely not valid (%s) is in the timeline alone', async (command, body, reason) => {
    const escalation = await stage.openEscalation(ours, { policy: { hardStop: 'PT1H' } });
    expect((await escalation.command(command, body)).status).toBe(422);
    expect(await refusalsOf(escalation)).toMatchObject([{ reason }]);
    expect(await entriesOf(escalation, command)).toEqual([]);
  });

  test('has an entry each time, of every escalation: nobody hides behind the one before', async () => {
    const pair = [await stage.openEscalation(ours), await stage.openEscalation(ours)];
    for (const escalation of [...pair, pair[0]!]) await escalation.command('escalate', elsewhere);
    expect((await entriesOf(pair[0]!, 'escalate')).length).toBe(2);
    expect((await entriesOf(pair[1]!, 'escalate')).length).toBe(1);
    expect((await refusalsOf(pair[0]!)).length).toBe(2);
  });

  test('that was only tried out leaves no trace', async () => {
    const escalation = await stage.openEscalation(ours);
    expect((await escalation.command('rebase', { policyVersion: 7, dryRun: true })).status).toBe(422);
    expect(await refusalsOf(escalation)).toEqual([]);
  });

  test('may be given again under the same key once it goes with the state', async () => {
    const escalation = await stage.openEscalation(ours);
    const headers = { 'Idempotency-Key': 'refused-once' };
    const body = { expected: { round: 1, tier: 2 } };
    expect((await escalation.command('escalate', body, { headers })).status).toBe(409);
    await escalation.elapse();
    expect((await escalation.command('escalate', body, { headers })).status).toBe(200);
    expect(await refusalsOf(escalation)).toHaveLength(1);
  });
});
