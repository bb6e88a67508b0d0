import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { toWireId } from '../../domain/id.ts';
import { type HttpReceiver, startHttpReceiver } from '../receivers/http.ts';
import { createStage, type OpenEscalation } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

const signingSecret = '8f742231b10e8888abcd99yyyzzz85a5';
const teamId = 'T0123ABCD';
let api: TestApi;
let slack: HttpReceiver;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
/** `int_...` */
let integration: string;
let viewer: string;
/** Where this test's answers go. */
let responses: string;
beforeAll(async () => {
  api = await startApi();
  stage = createStage(api);
  slack = await startHttpReceiver();
});
afterAll(async () => {
  await api.stop();
  await slack.close();
});
beforeEach(async () => {
  ours = await api.buildOrganization('Ours');
  viewer = (await api.buildMember(ours, 'auditor')).id;
  const userLinks = { U0OWNER: toWireId('user', ours.ownerId), U0VIEWER: toWireId('user', viewer) };
  const body = { name: 'Workspace', type: 'slack', settings: { teamId, signingSecret }, userLinks };
  integration = (await api.request('POST', '/integrations', { key: ours.key, body })).body['id'];
  responses = `/${integration}`;
  slack.script(responses, [], 200);
});

const buttons = ['tocsin_ack', 'tocsin_resolve'].map((id) => ({ type: 'button', action_id: id }));
const shown = [
  { type: 'header', text: { type: 'plain_text', text: 'Disk full' } },
  { type: 'actions', block_id: 'a', elements: buttons },
];
let presses = 0;

interface Press {
  action?: string;
  value?: string;
  user?: string;
  team?: string;
  actionTs?: string;
  blocks?: object[];
  responseUrl?: string;
}

/** The body of a press of a button below an escalation's message. */
function bodyOf(
  { id }: OpenEscalation,
  { action = 'tocsin_ack', value = id, user = 'U0OWNER', team = teamId, ...rest }: Press = {},
): string {
  const payload = {
    type: 'block_actions',
    team: { id: team },
    user: { id: user },
    container: { type: 'message', message_ts: '1800000000.000100' },
    message: { blocks: rest.blocks ?? shown },
    response_url: rest.responseUrl ?? slack.url(responses),
    actions: [{ action_id: action, value, action_ts: rest.actionTs ?? `${(presses += 1)}.0` }],
  };
  return new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
}

interface Sending {
  secret?: string;
  ageSeconds?: number;
  to?: string;
  signature?: string;
}

async function send(body: string, { secret = signingSecret, ageSeconds = 0, to = integration, signature }: Sending = {}) {
  const timestamp = String(Math.floor(Date.now() / 1_000) - ageSeconds);
  const signed = `v0=${createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')}`;
  const headers = {
    'Content-Type': 'application/x-www-form-urlencoded',
    'X-Slack-Request-Timestamp': timestamp,
    'X-Slack-Signature': signature ?? signed,
  };
  return api.request('POST', `/integrations/slack/${to}/interactions`, { raw: body, headers });
}

/** What Slack was sent, once so many have come. */
async function answers(count: number): Promise<TestAnswer['body'][]> {
  if (count > 0) await slack.waitForArrivals(count, { path: responses });
  return slack.arrivalsAt(responses).map(({ body }) => JSON.parse(body.toString()));
}

async function entriesOf({ id }: OpenEscalation, action = 'acknowledge') {
  const query = `/audit-logs?action=escalation.${action}&resource=escalation:${id}`;
  const { body } = await api.request('GET', query, { key: ours.key });
  return Promise.all(
    body['data'].map(async (entry: { id: string }) => (await api.request('GET', `/audit-logs/${entry.id}`, { key: ours.key })).body),
  );
}

async function expectUntouched(escalation: OpenEscalation): Promise<void> {
  expect(await escalation.read()).toMatchObject({ state: 'triggered', version: 1 });
}

describe('a press', () => {
  test('acknowledges, is answered with nothing, and its message says so afterwards', async () => {
    const escalation = await stage.openEscalation(ours);
    const startedMs = Date.now();
    expect(await send(bodyOf(escalation))).toMatchObject({ status: 200, text: '' });
    expect(Date.now() - startedMs).toBeLessThan(3_000);
    expect(await escalation.read()).toMatchObject({ state: 'acknowledged', acknowledgedBy: { id: toWireId('user', ours.ownerId) } });
    const [edit] = await answers(1);
    expect(edit).toEqual({
      replace_original: true,
      text: expect.stringMatching(/^Acknowledged by <@U0OWNER> at <!date\^\d+\^/),
      blocks: [
        shown[0],
        { ...shown[1], elements: [buttons[1]] },
        { type: 'context', block_id: 'tocsin_state', elements: [{ type: 'mrkdwn', text: edit!['text'] }] },
      ],
    });
    expect(await entriesOf(escalation)).toMatchObject([
      {
        status: 'success',
        actor: { type: 'user', id: toWireId('user', ours.ownerId) },
        tool: 'webhook',
        details: { path: 'slack', proof: 'slack_signature', slackUser: `slack:${teamId}:U0OWNER`, already: false },
      },
    ]);
    const { data } = await escalation.read('/timeline');
    expect(data.filter(({ proof }: { proof: string }) => proof === 'slack_signature')).toMatchObject([{ kind: 'acknowledged' }]);
  });

  test('told twice, also at the same time, is one', async () => {
    const escalation = await stage.openEscalation(ours);
    const body = bodyOf(escalation);
    const told = await Promise.all([send(body), send(body), send(body)]);
    expect([...told, await send(body)].map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await escalation.read()).toMatchObject({ state: 'acknowledged', version: 2 });
    expect(await entriesOf(escalation)).toHaveLength(1);
    expect(await answers(1)).toHaveLength(1);
  });

  test('of somebody who came second does nothing, and shows who was first', async () => {
    const escalation = await stage.openEscalation(ours);
    const { id, key } = await api.buildMember(ours, 'operator');
    await escalation.command('acknowledge', {}, { key });
    const member = (await api.request('GET', `/members/${toWireId('user', id)}`, { key: ours.key })).body;
    await send(bodyOf(escalation));
    expect(await answers(1)).toMatchObject([{ text: expect.stringMatching(new RegExp(`^Acknowledged by ${member['name']} at `)) }]);
    expect(await escalation.read()).toMatchObject({ version: 2, acknowledgedBy: { id: toWireId('user', id) } });
  });

  test('can also resolve, snooze for an hour, and escalate from where the button was shown', async () => {
    const escalation = await stage.openEscalation(ours);
    const escalate = () => send(bodyOf(escalation, { action: 'tocsin_escalate', value: `${escalation.id}.1.1` }));
    await escalate();
    expect(await escalation.read()).toMatchObject({ state: 'triggered', round: 1, tier: 2 });
    await answers(1);
    await escalate();
    expect(await escalation.read()).toMatchObject({ round: 1, tier: 2 });
    expect((await answers(2))[1]).toMatchObject({
      replace_original: false,
      text: expect.stringContaining('somebody was faster, it is at round 1, tier 2'),
    });

    const before = Date.now();
    await send(bodyOf(escalation, { action: 'tocsin_snooze_1h' }));
    const { state, dueAt } = await escalation.read();
    expect(state).toBe('snoozed');
    expect(Date.parse(dueAt) - before - 3_600_000).toBeLessThan(10_000);
    await answers(3);

    const blocks = [...shown, { type: 'context', block_id: 'tocsin_state', elements: [] }];
    await send(bodyOf(escalation, { action: 'tocsin_resolve', blocks }));
    expect((await escalation.read())['state']).toBe('resolved');
    expect((await answers(4))[3]).toMatchObject({
      text: expect.stringMatching(/^Resolved by <@U0OWNER> at /),
      blocks: [shown[0], { block_id: 'tocsin_state', elements: [{ type: 'mrkdwn' }] }],
    });
    expect(api.announced.map(({ escalationId }) => escalationId)).toContain(escalation.uuid);
  });

  test('that Slack cannot be answered about counts all the same', async () => {
    const escalation = await stage.openEscalation(ours);
    slack.script(responses, [], 404);
    expect((await send(bodyOf(escalation))).status).toBe(200);
    await answers(1);
    expect((await escalation.read())['state']).toBe('acknowledged');
    for (let waited = 0; waited < 2_000 && !api.logLines.some(({ work }) => work === 'slack.answer'); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const lines = api.logLines.filter(({ work }) => work === 'slack.answer');
    expect(lines).toMatchObject([{ error: { message: 'Slack did not take the answer: 404' } }]);
  });
});

test.each(['https://hooks.example.com/actions/x', 'http://hooks.slack.com/actions/x', 'https://hooks.slack.com.example.com/x', 'x'])(
  'an answer goes nowhere but to Slack: not to %s',
  async (responseUrl) => {
    const escalation = await stage.openEscalation(ours);
    const before = api.logLines.length;
    expect((await send(bodyOf(escalation, { responseUrl }))).status).toBe(200);
    expect((await escalation.read())['state']).toBe('acknowledged');
    const lines = () => api.logLines.slice(before).filter(({ work }) => work === 'slack.answer');
    for (let waited = 0; waited < 2_000 && lines().length === 0; waited += 20) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(lines()).toMatchObject([{ error: { message: "Slack was not answered: the URL is not one of Slack's" } }]);
  },
);

describe('nothing is done', () => {
  test('without a fresh signature of the integration', async () => {
    const escalation = await stage.openEscalation(ours);
    const body = bodyOf(escalation);
    const other = { name: 'Other', type: 'slack', settings: { teamId, signingSecret: 'another-secret-of-an-app' } };
    const sendings: Sending[] = [
      { secret: 'not the secret' },
      { ageSeconds: 301 },
      { ageSeconds: -310 },
      { signature: '' },
      { to: toWireId('integration', escalation.uuid) },
      { to: 'int_x' },
      { to: (await api.request('POST', '/integrations', { key: ours.key, body: other })).body['id'] },
    ];
    const told = await Promise.all(sendings.map(async (sending) => send(body, sending)));
    expect(told.map(({ status }) => status)).toEqual(sendings.map(() => 401));
    expect(new Set(told.map(({ body: { detail } }) => detail)).size).toBe(1);
    await api.request('PATCH', `/integrations/${integration}`, { key: ours.key, body: { active: false } });
    expect((await send(body)).status).toBe(401);
    await expectUntouched(escalation);
  });

  test('for another workspace, or for what is no interaction', async () => {
    const escalation = await stage.openEscalation(ours);
    expect((await send(bodyOf(escalation, { team: 'T0OTHER' }))).status).toBe(403);
    expect((await send('payload=%7B')).status).toBe(400);
    expect((await send('other=1')).status).toBe(400);
    expect((await send(bodyOf(escalation, { value: 'esc_x' }))).status).toBe(400);
    expect((await send(bodyOf(escalation, { action: 'approve' }))).status).toBe(200);
    expect((await send(`payload=${'x'.repeat(300_000)}`)).status).toBe(413);
    await expectUntouched(escalation);
    expect(await answers(0)).toEqual([]);
  });

  test('for an account that is not linked, or whose member has left', async () => {
    const escalation = await stage.openEscalation(ours);
    expect((await send(bodyOf(escalation, { user: 'U0NOBODY' }))).status).toBe(200);
    expect(await answers(1)).toEqual([
      { replace_original: false, response_type: 'ephemeral', text: expect.stringContaining('Link your account') },
    ]);
    await api.request('POST', `/members/${toWireId('user', viewer)}/disable`, { key: ours.key });
    await send(bodyOf(escalation, { user: 'U0VIEWER' }));
    expect((await answers(2))[1]).toMatchObject({ text: expect.stringContaining('Link your account') });
    await expectUntouched(escalation);
    expect(await entriesOf(escalation)).toMatchObject([
      { status: 'blocked', reason: 'unlinked', actor: { type: 'system' } },
      { status: 'blocked', reason: 'unlinked', actor: { type: 'system' } },
    ]);
  });

  test('for a member who may not, unless the escalation has paged them', async () => {
    const escalation = await stage.openEscalation(ours);
    await send(bodyOf(escalation, { user: 'U0VIEWER' }));
    expect(await answers(1)).toMatchObject([{ response_type: 'ephemeral', text: expect.stringContaining('has not paged you') }]);
    await expectUntouched(escalation);
    expect(await entriesOf(escalation)).toMatchObject([
      { status: 'blocked', reason: 'not_allowed', actor: { id: toWireId('user', viewer) } },
    ]);
    const tiers = [
      {
        targets: [
          { kind: 'user', id: toWireId('user', viewer) },
          { kind: 'webhook', id: await stage.buildWebhook(ours) },
        ],
      },
    ];
    const paging = await stage.openEscalation(ours, { policy: { tiers } });
    await send(bodyOf(paging, { user: 'U0VIEWER' }));
    expect(await paging.read()).toMatchObject({ state: 'acknowledged', acknowledgedBy: { id: toWireId('user', viewer) } });
  });

  test('when the policy wants to know better who acknowledges', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { minProof: 'session' } });
    await send(bodyOf(escalation));
    expect(await answers(1)).toMatchObject([{ text: 'Nothing was done: the policy takes no acknowledgement from Slack.' }]);
    await expectUntouched(escalation);
    expect(await entriesOf(escalation)).toMatchObject([{ status: 'blocked', reason: 'proof_too_weak' }]);
  });

  test("to another organization's escalation, which is unknown here", async () => {
    const theirs = await api.buildOrganization('Theirs');
    const escalation = await stage.openEscalation(theirs);
    expect((await send(bodyOf(escalation))).status).toBe(200);
    expect(await answers(1)).toMatchObject([{ text: expect.stringContaining('no such escalation') }]);
    await expectUntouched(escalation);
  });
});
