import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { fromWireId, toWireId } from '../../domain/id.ts';
import { acknowledge, workflowIds } from '../../workflows/messages.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('escalations', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  const members: Array<{ id: string; email: string }> = [];

  beforeAll(async () => {
    [tocsin, mail] = await Promise.all([startInstance(), startSmtpReceiver({ security: 'none' })]);
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com' };
    const { id } = await tocsin.call('POST', '/channels', { name: 'sender', type: 'email', settings });
    await tocsin.call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
    for (const name of ['first', 'second', 'third']) {
      const { id: member } = await tocsin.api.buildMember(tocsin.organization, 'member');
      const email = `${name}@example.com`;
      await query('update member set email = $1, email_key = $1 where id = $2', [email, member]);
      members.push({ id: toWireId('user', member), email });
    }
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
  });

  const query = async (text: string, values: unknown[]): Promise<Array<Record<string, unknown>>> => {
    const client = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text, values)).rows;
    } finally {
      await client.end();
    }
  };

  const policy = async (fields: object): Promise<Json> =>
    tocsin.call('POST', '/escalation-policies', {
      tiers: members.slice(0, 2).map(({ id }) => ({ targets: [{ kind: 'user', id }], timeout: 'PT1.5S' })),
      ...fields,
    });

  /** Who got mails with this subject, in order. */
  const mailed = (subject: string): string[] =>
    mail.mails.filter(({ raw }) => raw.includes(`Subject: ${subject}`) || raw.includes(subject)).flatMap(({ to }) => to);

  const escalationOf = async (subject: string) => {
    const [row] = await query('select * from escalation where subject = $1', [subject]);
    return row;
  };

  test('what nobody acknowledges climbs, and a signal from an on-call tool ends the climb', async () => {
    await policy({ name: 'climb', trigger: { types: ['alert.fired'], matchers: [{ key: 'label.story', op: '=', value: 'climb' }] } });
    const event = await tocsin.post({
      type: 'alert.fired',
      severity: 'high',
      subject: 'Disk of db-1 is full',
      dedupKey: 'climb',
      labels: { story: 'climb' },
    });
    expect(event['decisions'].filter(({ target }: Json) => target.kind === 'escalation_policy')).toMatchObject([
      { verdict: 'escalate', reason: 'policy_match' },
    ]);
    await waitFor(
      async () => mailed('Disk of db-1 is full'),
      (to) => to.length === 2,
      { what: 'both tiers' },
    );
    expect(mailed('Disk of db-1 is full')).toEqual(['first@example.com', 'second@example.com']);

    const row = await escalationOf('Disk of db-1 is full');
    const handle = tocsin.client.workflow.getHandle(workflowIds.escalation(row!['id'] as string));
    await handle.signal(acknowledge, { requestId: 'r1', actor: 'pager-app' });
    await waitFor(
      async () => escalationOf('Disk of db-1 is full'),
      (now) => now?.['status'] === 'acknowledged',
      { what: 'the acknowledgement' },
    );
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(mailed('Disk of db-1 is full')).toHaveLength(2);
    expect(fromWireId('event', event['id'])).toBe(row!['event_id']);
  });

  test('what a silence kept back pages at its end, and what it kept from a tier comes when it is cancelled', async () => {
    const story = { key: 'label.story', op: '=', value: 'silence' };
    await policy({ name: 'silence', trigger: { types: ['alert.fired'], matchers: [story] } });
    const silence = async (ms: number) =>
      tocsin.call('POST', '/silences', { matchers: [story], endsAt: new Date(Date.now() + ms).toISOString(), comment: 'Upgrade' });
    const { endsAt } = await silence(2_000);
    const subject = 'Replica of db-2 lags';
    const fired = { type: 'alert.fired', severity: 'high', subject, dedupKey: 'silence', labels: { story: 'silence' } };
    await tocsin.post(fired);
    expect(await escalationOf(subject)).toBeUndefined();
    const mails = async (count: number) =>
      waitFor(
        async () => mailed(subject),
        ({ length }) => length === count,
        { what: `${count} mails` },
      );
    await mails(1);
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(endsAt));
    const { id } = await silence(3_600_000);
    await waitFor(
      async () => escalationOf(subject),
      (row) => row?.['why'] === 'deferred_silence',
      { what: 'the wait of tier 2' },
    );
    await tocsin.call('DELETE', `/silences/${id}`);
    await mails(2);
    expect(mailed(subject)).toEqual(['first@example.com', 'second@example.com']);
    await tocsin.post({ ...fired, type: 'alert.resolved' });
  });

  test('that nobody answered is told to whom the policy belongs and who looks after the organization, whatever they prefer', async () => {
    const [{ email: owner }] = (await query('select email from member where id = $1', [tocsin.organization.ownerId])) as [
      { email: string },
    ];
    const story = { key: 'label.story', op: '=', value: 'exhausted' };
    await policy({
      name: 'exhausted',
      trigger: { types: ['alert.fired'], matchers: [story] },
      tiers: [{ targets: [{ kind: 'user', id: members[0]!.id }], timeout: 'PT0.5S' }],
      fallback: [{ kind: 'user', id: members[1]!.id }],
      ownerUserId: members[1]!.id,
    });
    const subject = 'Nobody looks at db-3';
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject, dedupKey: 'exhausted', labels: { story: 'exhausted' } });
    await waitFor(
      async () => mailed(subject),
      ({ length }) => length >= 3,
      { what: 'the last mails' },
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    // The policy's owner is the fallback too, and gets one mail.
    expect(mailed(subject).toSorted()).toEqual(['first@example.com', 'second@example.com', owner].toSorted());
    const { data } = await tocsin.get('/notifications');
    expect(data.filter((item: Json) => item['type'] === 'escalation.exhausted' && item['subject'] === subject)).toHaveLength(1);
  });

  test('the link in a page acknowledges once, by whom it was sent to, and looking at it does nothing', async () => {
    await policy({ name: 'link', trigger: { types: ['alert.fired'], matchers: [{ key: 'label.story', op: '=', value: 'link' }] } });
    const subject = 'Queue of billing grows';
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject, dedupKey: 'link', labels: { story: 'link' } });
    await waitFor(
      async () => mailed(subject),
      (to) => to.length === 1,
      { what: 'the first page' },
    );
    const page = mail.mails
      .find(({ raw }) => raw.includes(subject))!
      .raw.replaceAll('=\r\n', '')
      .replaceAll('=3D', '=');
    const [, path] = /Acknowledge: http:\/\/[^/]+(\/l\/[A-Za-z0-9_-]+)/.exec(page)!;
    const url = new URL(path!, tocsin.api.url);
    expect((await fetch(url)).status).toBe(200);
    expect((await escalationOf(subject))?.['status']).toBe('triggered');
    const press = async (): Promise<Response> => fetch(url, { method: 'POST', body: new URLSearchParams({ confirm: '1' }) });
    expect((await press()).status).toBe(200);
    expect(await escalationOf(subject)).toMatchObject({
      status: 'acknowledged',
      acknowledged_by: { type: 'user', id: fromWireId('user', members[0]!.id) },
    });
    expect((await press()).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(mailed(subject)).toEqual(['first@example.com']);
  });
});
