import { createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import type { Arrival } from '../receivers/http.ts';
import { slackAnswers } from '../receivers/slack.ts';
import { startSmtpReceiver, type ReceivedMail, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('those whom an escalation has told', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  let stories = 0;
  const people: Array<{ id: string; key: string; email: string }> = [];

  beforeAll(async () => {
    [tocsin, mail] = await Promise.all([startInstance(), startSmtpReceiver({ security: 'none' })]);
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com' };
    const { id } = await tocsin.call('POST', '/channels', { name: 'sender', type: 'email', settings });
    await tocsin.call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
    const database = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await database.connect();
    for (const name of ['ann', 'bob']) {
      const member = await tocsin.api.buildMember(tocsin.organization, 'operator');
      const email = `${name}@example.com`;
      await database.query('update member set email = $1, email_key = $1, name = $2 where id = $3', [email, name, member.id]);
      people.push({ id: toWireId('user', member.id), key: member.key, email });
    }
    await database.end();
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
  });

  const user = (index: number) => ({ kind: 'user', id: people[index]!.id });

  interface Story {
    subject: string;
    id: string;
    command(name: string, body?: object, key?: string): Promise<Json>;
    read(part?: string): Promise<Json>;
    /** Ends the problem. */
    recover(): Promise<unknown>;
  }

  async function open(targets: readonly object[], fields: object = {}): Promise<Story> {
    const story = `story ${(stories += 1)}`;
    const trigger = { matchers: [{ key: 'label.story', op: '=', value: story }] };
    const tiers = [{ targets, timeout: 'PT10M' }];
    const { id: policyId } = await tocsin.call('POST', '/escalation-policies', { name: story, trigger, tiers, ...fields });
    const subject = `Subject of ${story}`;
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject, dedupKey: story, labels: { story } });
    const { data } = await tocsin.get(`/escalations?policyId=${policyId}`);
    const { id } = data[0];
    return {
      subject,
      id,
      async command(name, body = {}, key = tocsin.organization.key) {
        const answer = await tocsin.api.request('POST', `/escalations/${id}/${name}`, { key, body });
        expect(answer.status).toBe(200);
        return answer.body;
      },
      read: async (part = '') => tocsin.get(`/escalations/${id}${part}`),
      recover: async () => tocsin.post({ type: 'alert.resolved', dedupKey: story }),
    };
  }

  async function mailsOf({ subject }: Story, count: number): Promise<ReceivedMail[]> {
    return waitFor(
      async () => mail.mails.filter(({ raw }) => raw.includes(subject)),
      (mails) => mails.length >= count,
      { what: `${count} mails of ${subject}` },
    );
  }

  /** A header of a mail, its folded lines joined. */
  const headerOf = ({ raw }: ReceivedMail, name: string): string | undefined =>
    new RegExp(`^${name}: (.*(?:\r\n[ \t].*)*)`, 'im').exec(raw)?.[1]?.replaceAll(/\r\n[ \t]/g, ' ');
  const textOf = ({ raw }: ReceivedMail): string => raw.replaceAll('=\r\n', '').replaceAll('=3D', '=');

  test('learn by a reply to that very mail who has taken over, and that it is over', async () => {
    const story = await open([user(0), user(1)], { followUp: 'all' });
    const pages = await mailsOf(story, 2);
    await story.command('acknowledge', {}, people[0]!.key);
    const [acknowledged] = (await mailsOf(story, 3)).slice(2);
    await story.recover();
    const [first, second] = (await mailsOf(story, 5)).slice(3);
    await sleep(2_500);
    expect((await mailsOf(story, 5)).length).toBe(5);

    expect(acknowledged!.to).toEqual(['bob@example.com']);
    expect(textOf(acknowledged!)).toContain('Acknowledged by ann: nobody else is paged');
    expect([...first!.to, ...second!.to].toSorted()).toEqual(['ann@example.com', 'bob@example.com']);
    for (const update of [acknowledged!, first!, second!]) {
      const page = pages.find(({ to }) => to[0] === update.to[0])!;
      const root = headerOf(page, 'References')!;
      expect(headerOf(update, 'In-Reply-To')).toBe(headerOf(page, 'Message-ID'));
      expect(headerOf(update, 'References')).toBe(`${root} ${headerOf(page, 'Message-ID')}`);
      expect(headerOf(update, 'Subject')).toBe(`Re: ${headerOf(page, 'Subject')}`);
      expect(update.raw).not.toContain('/l/');
    }
    expect(textOf(first!)).toContain('Resolved: nothing is wrong any more');
    expect(new Set(pages.map((page) => headerOf(page, 'References'))).size).toBe(1);

    // Each page is a run of its own and goes first; an update can wait.
    const { firings } = await story.read();
    const priorityOf = async (deliveryId: string) => {
      const { workflowId } = await tocsin.get(`/deliveries/${deliveryId}`);
      return { workflowId, priority: (await tocsin.client.workflow.getHandle(workflowId).describe()).priority?.priorityKey };
    };
    const runs = await Promise.all(firings[0].pages.map(async ({ deliveryId }: Json) => priorityOf(deliveryId as string)));
    expect(runs.map(({ priority }) => priority)).toEqual([1, 1]);
    expect(new Set(runs.map(({ workflowId }) => workflowId)).size).toBe(2);

    const { data } = await story.read('/timeline');
    expect((await priorityOf(data.at(-1).deliveryId)).priority).toBe(4);
    expect(data.map(({ kind, reason }: Json) => `${kind} ${reason ?? ''}`.trim())).toEqual([
      'opened opened',
      'tier_fired opened',
      'delivery delivered',
      'delivery delivered',
      'acknowledged',
      'update_sent delivered',
      'member_resolved',
      'resolved members_resolved',
      'update_sent delivered',
      'update_sent delivered',
    ]);
  });

  test('are told of an acknowledgement that came while their page was on its way', async () => {
    const path = '/late-page';
    tocsin.receiver.script(path, [{ status: 200, delayMs: 1_500 }], 200);
    const settings = { url: tocsin.receiver.url(path) };
    const { id } = await tocsin.call('POST', '/channels', { name: 'late', type: 'webhook', settings });
    const story = await open([{ kind: 'channel', id }], { followUp: 'none' });
    await tocsin.receiver.waitForArrivals(1, { path });
    await story.command('acknowledge');
    const said = (await tocsin.receiver.waitForArrivals(2, { path })).map(({ body }) => JSON.parse(body.toString()) as Json);
    expect(said.map(({ escalation }) => escalation)).toEqual([
      { id: story.id, tier: 1, round: 1, state: 'triggered' },
      { id: story.id, tier: 1, round: 1, state: 'acknowledged' },
    ]);
    expect((await story.read())['firings'][0].pages).toMatchObject([{ state: 'delivered' }]);
  });

  test('are left alone when their policy says so, and webhooks hear of it all the same', async () => {
    const hook = await tocsin.hook({ types: ['job.completed'] });
    const story = await open([user(0), { kind: 'webhook', id: hook.id }], { followUp: 'none' });
    await mailsOf(story, 1);
    await tocsin.receiver.waitForArrivals(1, { path: hook.path });
    await story.command('acknowledge');
    const events = await tocsin.receiver.waitForArrivals(2, { path: hook.path });
    const types = events.map(({ body, headers }: Arrival) => [headers['x-webhook-event'], (JSON.parse(body.toString()) as Json)['type']]);
    expect(types).toEqual(['escalation.triggered', 'escalation.acknowledged'].map((type) => [type, type]));
    await sleep(2_500);
    expect(await mailsOf(story, 1)).toHaveLength(1);
  });

  test('and have taken it over are reminded before that runs out, and paged again when it does', async () => {
    const fields = { acknowledgementTimeout: 'PT6S', acknowledgementReminder: true };
    const story = await open([user(1)], fields);
    await mailsOf(story, 1);
    const { dueAt } = await story.command('acknowledge', {}, people[0]!.key);
    const [, reminder] = await mailsOf(story, 2);
    expect(Date.now()).toBeLessThan(Date.parse(dueAt) + 3_000);
    expect(reminder!.to).toEqual(['ann@example.com']);
    expect(textOf(reminder!)).toMatch(/Your acknowledgement runs out at \d{4}-/);
    const { body } = await tocsin.api.request('GET', '/notifications', { key: people[0]!.key });
    expect(body['data'][0]).toMatchObject({
      type: 'escalation.acknowledged',
      message: expect.stringMatching(/^Your acknowledgement runs out at/),
    });
    const [, , again] = await mailsOf(story, 3);
    expect(again!.to).toEqual(['bob@example.com']);
    await story.command('resolve');
    const { data } = await story.read('/timeline');
    expect(data.map(({ kind }: Json) => kind).filter((kind: string) => kind !== 'delivery')).toEqual([
      'opened',
      'tier_fired',
      'acknowledged',
      'acknowledgement_reminder',
      'restarted',
      'tier_fired',
      'resolved',
    ]);
  });

  test('on Slack press a button below the page: it is acknowledged, the message says so, and nobody else is paged', async () => {
    const signingSecret = '8f742231b10e8888abcd99yyyzzz85a5';
    const [path, responses] = ['/services/T/B/X', '/actions/T/1/2'];
    tocsin.receiver.script(path, [], slackAnswers.ok);
    tocsin.receiver.script(responses, [], 200);
    const settings = { webhookUrl: tocsin.receiver.url(path), followUp: true };
    const { id: channelId } = await tocsin.call('POST', '/channels', { name: 'slack', type: 'slack', settings });
    const integration = await tocsin.call('POST', '/integrations', {
      name: 'Workspace',
      type: 'slack',
      settings: { teamId: 'T0123ABCD', signingSecret, channelId },
      userLinks: { U0ANN: people[0]!.id },
    });
    const channel = { kind: 'channel', id: channelId };
    const tiers = [
      { targets: [channel], timeout: 'PT4S' },
      { targets: [user(1)], timeout: 'PT10M' },
    ];
    const story = await open([channel], { followUp: 'all', tiers });
    const [page] = await tocsin.receiver.waitForArrivals(1, { path });
    const posted = JSON.parse(page!.body.toString()) as Json;
    const [{ blocks }] = posted['attachments'];
    const actions = blocks.find(({ type }: Json) => type === 'actions');
    expect(actions.elements.map(({ action_id: action, value }: Json) => [action, value])).toEqual([
      ['tocsin_ack', story.id],
      ['tocsin_resolve', story.id],
      ['tocsin_snooze_1h', story.id],
      ['tocsin_escalate', `${story.id}.1.1`],
    ]);

    const [button] = actions.elements;
    const press = {
      type: 'block_actions',
      team: { id: 'T0123ABCD' },
      user: { id: 'U0ANN' },
      container: { type: 'message_attachment', message_ts: '1800000000.000100', attachment_id: 1 },
      message: { text: posted['text'], attachments: posted['attachments'] },
      response_url: tocsin.receiver.url(responses),
      actions: [{ ...button, block_id: actions.block_id, action_ts: '1800000001.000100' }],
    };
    const body = new URLSearchParams({ payload: JSON.stringify(press) }).toString();
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const answer = await fetch(tocsin.api.url + integration['callPath'], {
      method: 'POST',
      body,
      headers: {
        'Content-Type': 'application/x-www-form-urlencoded',
        'X-Slack-Request-Timestamp': timestamp,
        'X-Slack-Signature': `v0=${createHmac('sha256', signingSecret).update(`v0:${timestamp}:${body}`).digest('hex')}`,
      },
    });
    expect([answer.status, await answer.text()]).toEqual([200, '']);
    expect(await story.read()).toMatchObject({ state: 'acknowledged', acknowledgedBy: { id: people[0]!.id } });

    const [edit] = await tocsin.receiver.waitForArrivals(1, { path: responses });
    const shown = JSON.parse(edit!.body.toString()) as Json;
    expect(shown).toMatchObject({ replace_original: true, text: posted['text'], attachments: [{ color: posted['attachments'][0].color }] });
    const after = shown['attachments'][0].blocks;
    expect(after.find(({ type }: Json) => type === 'actions').elements.map(({ action_id: action }: Json) => action)).toEqual([
      'tocsin_resolve',
      'tocsin_snooze_1h',
      'tocsin_escalate',
    ]);
    expect(after.at(-1)).toMatchObject({
      block_id: 'tocsin_state',
      elements: [{ text: expect.stringMatching(/^Acknowledged by <@U0ANN>/) }],
    });

    // Past the second tier's time, and past the relay's next round: no page, and no word to the channel whose message shows it.
    await sleep(6_500);
    expect(tocsin.receiver.arrivalsAt(path)).toHaveLength(1);
    expect(mail.mails.some(({ raw }) => raw.includes(story.subject))).toBe(false);

    // What is done elsewhere is told there, with what there is left to do.
    await story.command('unacknowledge');
    const restarted = (await tocsin.receiver.waitForArrivals(3, { path })).slice(1).map(({ body: text }) => text.toString());
    expect(restarted.filter((text) => text.includes('The acknowledgement was taken back by owner: people are paged again'))).toHaveLength(
      1,
    );
    await story.command('resolve');
    const [, , , last] = await tocsin.receiver.waitForArrivals(4, { path });
    expect(last!.body.toString()).toContain('Resolved by owner');
    expect(last!.body.toString()).not.toContain('action_id');
  });
});
