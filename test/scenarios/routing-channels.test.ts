import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { slackAnswers, slackPath, startSlackReceiver } from '../receivers/slack.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import type { HttpReceiver } from '../receivers/http.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('rules', () => {
  let tocsin: Instance;
  let slack: HttpReceiver & { webhookUrl: string };
  let mail: SmtpReceiver;
  const channels: Record<string, string> = {};

  beforeAll(async () => {
    [tocsin, slack, mail] = await Promise.all([startInstance(), startSlackReceiver(), startSmtpReceiver({ security: 'none' })]);
    tocsin.receiver.script('/channel', [], 200);
    const add = async (type: string, settings: object) => {
      channels[type] = (await tocsin.call('POST', '/channels', { name: type, type, settings }))['id'];
    };
    await add('email', { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com', to: ['duty@example.com'] });
    await add('slack', { webhookUrl: slack.webhookUrl });
    await add('webhook', { url: tocsin.receiver.url('/channel'), secret: 'a secret of at least 24 bytes' });
    await add('in_app', {});
  });
  afterAll(async () => {
    await tocsin.stop();
    await Promise.all([slack.close(), mail.close()]);
  });

  const rule = async (fields: object) => tocsin.call('POST', '/rules', fields);
  const destinations = ({ decisions }: Json) =>
    decisions.map(({ target, verdict, reason }: Json) => [target.channelType ?? target.kind, verdict, reason]);

  test('an event reaches every channel of the rule that it matches, and everybody in the app', async () => {
    const { id } = await rule({ name: 'all', position: 1, types: ['break_glass.opened'], channelIds: Object.values(channels) });
    const event = await tocsin.post({ type: 'break_glass.opened', subject: 'Break-glass session of ada', severity: 'critical' });
    expect(destinations(event).toSorted()).toEqual([
      ['email', 'send', 'rule_match'],
      ['in_app', 'send', 'builtin_default'],
      ['in_app', 'send', 'rule_match'],
      ['slack', 'send', 'rule_match'],
      ['webhook', 'send', 'rule_match'],
    ]);
    expect(event['decisions'][0].winner).toBe(`rule:${id}@1`);
    await waitFor(
      () => tocsin.get(`/events/${event['id']}`),
      ({ deliveries }) => deliveries.length === 4 && deliveries.every(({ status }: { status: string }) => status === 'delivered'),
      { what: 'the deliveries' },
    );
    const [mailed] = await mail.waitForMails(1);
    expect(mailed).toMatchObject({ to: ['duty@example.com'] });
    expect(mailed!.raw).toContain('Break-glass session of ada');
    const [posted] = slack.arrivals;
    expect(JSON.parse(posted!.body.toString())).toMatchObject({ text: '[CRITICAL] Break-glass session of ada' });
    const [called] = tocsin.receiver.arrivalsAt('/channel');
    expect(JSON.parse(called!.body.toString())).toMatchObject({ event_id: event['id'], subject: 'Break-glass session of ada' });
    const { data: feed } = await tocsin.get('/notifications');
    expect(feed[0]).toMatchObject({ subject: 'Break-glass session of ada' });
    const { data: inApp } = await tocsin.get(`/deliveries?destination=${channels['in_app']}`);
    expect(inApp).toMatchObject([{ status: 'delivered', totalAttempts: 0, workflowId: null }]);
  });

  test('the first rule that chooses a channel has it, the next is named as a loser, and stop ends the asking', async () => {
    const first = await rule({ name: 'first', position: 10, types: ['job.failed'], channelIds: [channels['slack']] });
    const second = await rule({
      name: 'second',
      position: 11,
      types: ['job.*'],
      channelIds: [channels['slack'], channels['webhook']],
      stop: true,
    });
    await rule({ name: 'third', position: 12, types: ['job.*'], channelIds: [channels['email']] });
    const event = await tocsin.post({ type: 'job.failed' });
    expect(destinations(event)).toEqual([
      ['slack', 'send', 'rule_match'],
      ['webhook', 'send', 'rule_match'],
      ['in_app', 'send', 'builtin_default'],
    ]);
    expect(event['decisions'][0]).toMatchObject({ winner: `rule:${first['id']}@1`, losers: [`rule:${second['id']}@1`] });
  });

  test('a rule without channels, an inactive channel and an unknown member are suppressed with their reasons', async () => {
    await rule({ name: 'none', position: 20, types: ['host.offline'], channelIds: [] });
    const spare = await tocsin.call('POST', '/channels', { name: 'spare', type: 'slack', settings: { webhookUrl: slack.webhookUrl } });
    await rule({ name: 'off', position: 21, types: ['host.offline'], channelIds: [spare['id']] });
    await tocsin.call('PATCH', `/channels/${spare['id']}`, { active: false });
    const { data: members } = await tocsin.get('/members');
    const event = await tocsin.post({
      type: 'host.offline',
      audience: { userIds: [members[0].id, 'usr_01h455vb4pex5vsknk084sn02q'] },
    });
    expect(destinations(event)).toEqual([
      ['rule', 'suppress', 'no_channels'],
      ['slack', 'suppress', 'destination_inactive'],
      ['in_app', 'send', 'builtin_default'],
      ['in_app', 'suppress', 'user_inactive'],
    ]);
    expect(event['deliveries']).toEqual([]);
  });

  test('matchers choose by project, environment, label and severity', async () => {
    const project = await tocsin.call('POST', '/projects', { name: 'api-platform' });
    await rule({
      name: 'matched',
      position: 30,
      types: ['alert.fired'],
      projectIds: [project['id']],
      minSeverity: 'high',
      matchers: [
        { key: 'environment', op: 'in', value: ['production', 'staging'] },
        { key: 'label.team', op: 'glob', value: 'plat*' },
        { key: 'projectId', op: '=', value: project['id'] },
        { key: 'tenantId', op: 'exists', value: false },
      ],
      channelIds: [channels['webhook']],
    });
    const matching = {
      type: 'alert.fired',
      projectId: project['id'],
      environment: 'staging',
      severity: 'p2',
      labels: { team: 'platform' },
    };
    const isChosen = async (event: object) => destinations(await tocsin.post({ ...matching, ...event })).length === 2;
    expect(await isChosen({})).toBe(true);
    for (const miss of [
      { projectId: undefined },
      { environment: 'test' },
      { severity: 'medium' },
      { labels: { team: 'web' } },
      { tenantId: 'acme' },
    ])
      expect(await isChosen(miss)).toBe(false);
  });

  test('an answer that no database text can hold is recorded all the same', async () => {
    slack.script(slackPath, [{ status: 200, body: 'no\u0000pe \ud800' }], slackAnswers.ok);
    mail.script.rcpt = { 'duty@example.com': { status: 550, message: 'who\u0000is that' } };
    tocsin.receiver.script('/channel', [{ status: 410, headers: { 'x-odd': 'caf\u00e9' }, body: Buffer.from([0, 255, 254, 0]) }], 200);
    await rule({ name: 'odd', position: 40, types: ['rollback.initiate'], channelIds: Object.values(channels) });
    const event = await tocsin.post({ type: 'rollback.initiate' });
    const trace = await waitFor(
      () => tocsin.get(`/events/${event['id']}`),
      ({ deliveries }) => deliveries.every(({ status }: { status: string }) => ['delivered', 'failed'].includes(status)),
      { what: 'the deliveries' },
    );
    expect(trace['deliveries']).toHaveLength(4);
  });
});
