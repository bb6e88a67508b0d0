import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { workflowTypes } from '../../workflows/messages.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('notices of a rule', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  let channelId: string;

  beforeAll(async () => {
    [tocsin, mail] = await Promise.all([startInstance(), startSmtpReceiver({ security: 'none' })]);
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com', to: ['team@example.com'] };
    channelId = (await tocsin.call('POST', '/channels', { name: 'team', type: 'email', settings }))['id'];
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
  });

  const bundle = async (story: string, aggregate: object) =>
    tocsin.call('POST', '/rules', {
      name: story,
      matchers: [{ key: 'label.story', op: '=', value: story }],
      channelIds: [channelId],
      aggregate: { groupBy: ['label.story'], repeat: null, ...aggregate },
    });
  const post = async (story: string, type: string, name: string) =>
    tocsin.post({ type, dedupKey: `${story} ${name}`, subject: `${story} ${name}`, labels: { story } });
  /** Subjects of the mails of a story, in order. */
  const subjects = (story: string): string[] =>
    mail.mails.flatMap(({ raw }) => /^Subject: (.*)$/m.exec(raw)?.[1]?.trim() ?? []).filter((subject) => subject.includes(story));
  const arrived = async (story: string, count: number) =>
    waitFor(
      async () => subjects(story),
      ({ length }) => length >= count,
      { what: `${count} mails of ${story}` },
    );
  const groupWorkflows = async (): Promise<string[]> =>
    Array.fromAsync(
      tocsin.client.workflow.list({ query: `WorkflowType = '${workflowTypes.notificationGroup}' AND ExecutionStatus = 'Running'` }),
      ({ workflowId }) => workflowId,
    );
  const pause = async (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  test('bundle what comes together, tell what is new, and end when everything is resolved', async () => {
    await bundle('disks', { wait: 'PT1S', interval: 'PT1S' });
    const event = await post('disks', 'alert.fired', 'A');
    expect(event['decisions']).toContainEqual(expect.objectContaining({ verdict: 'group', reason: 'group_wait', deliveryId: null }));
    await post('disks', 'alert.fired', 'B');
    await arrived('disks', 1);
    await post('disks', 'alert.fired', 'C');
    await arrived('disks', 2);
    await post('disks', 'alert.resolved', 'A');
    await arrived('disks', 3);
    await Promise.all([post('disks', 'alert.resolved', 'B'), post('disks', 'alert.resolved', 'C')]);
    await waitFor(groupWorkflows, ({ length }) => length === 0, { what: 'the end of the group' });
    await waitFor(
      async () => subjects('disks').at(-1) ?? '',
      (subject) => subject.includes('Resolved: '),
      { what: 'the last subject' },
    );
    expect(subjects('disks')).toEqual([
      expect.stringContaining('disks A and 1 more'),
      expect.stringContaining('disks A and 2 more'),
      expect.stringContaining('1 resolved, still: disks B and 1 more'),
      // Both ended in one tick, or in two that follow each other.
      ...subjects('disks').slice(3),
    ]);
    const first = mail.mails.find(({ raw }) => raw.includes('disks A and 1 more'))!;
    expect(first.raw).toContain('[MEDIUM] disks B');
    const { data } = await tocsin.get('/deliveries?limit=10');
    expect(data.every(({ status }: { status: string }) => status === 'delivered')).toBe(true);
  });

  test('come although their workflow was ended by an operator', async () => {
    await bundle('terminated', { wait: 'PT4S', interval: 'PT1S' });
    await post('terminated', 'alert.fired', 'A');
    const [workflowId] = await waitFor(groupWorkflows, ({ length }) => length === 1, { what: 'the workflow' });
    await tocsin.client.workflow.getHandle(workflowId!).terminate();
    await arrived('terminated', 1);
    await pause(1_500);
    expect(subjects('terminated')).toHaveLength(1);
    await post('terminated', 'alert.resolved', 'A');
    await arrived('terminated', 2);
  });

  test('leave out what is muted, and tell of it once when the silence ends', async () => {
    await bundle('muted', { wait: 'PT0S', interval: 'PT1S' });
    await post('muted', 'alert.fired', 'A');
    await post('muted', 'alert.fired', 'B');
    await arrived('muted', 2);
    const matchers = [{ key: 'dedupKey', op: '=', value: 'muted A' }];
    const silence = await tocsin.call('POST', '/silences', { matchers, endsAt: new Date(Date.now() + 3_000).toISOString(), comment: 'x' });
    await pause(2_000);
    expect(subjects('muted')).toHaveLength(2);
    await arrived('muted', 3);
    await pause(2_500);
    expect(subjects('muted')).toEqual([
      expect.stringContaining('muted A'),
      expect.stringContaining('muted A and 1 more'),
      expect.stringContaining('muted A and 1 more'),
    ]);
    expect((await tocsin.get(`/silences/${silence['id']}`))['state']).toBe('ended');
  });
});
