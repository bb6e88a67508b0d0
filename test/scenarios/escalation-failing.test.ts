import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { toWireId } from '../../domain/id.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('a tier whose pages reach nobody', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  let stories = 0;
  const people: Array<{ id: string; email: string }> = [];

  beforeAll(async () => {
    [tocsin, mail] = await Promise.all([startInstance(), startSmtpReceiver({ security: 'none' })]);
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com' };
    const retryPolicy = { kind: 'custom', delaysSeconds: [0, 1, 1] };
    const { id } = await tocsin.call('POST', '/channels', { name: 'sender', type: 'email', settings, retryPolicy });
    await tocsin.call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
    const database = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await database.connect();
    for (const name of ['u1', 'u2', 'u3']) {
      const member = await tocsin.api.buildMember(tocsin.organization, 'member');
      await database.query('update member set email = $1, email_key = $1 where id = $2', [`${name}@example.com`, member.id]);
      people.push({ id: toWireId('user', member.id), email: `${name}@example.com` });
    }
    await database.end();
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
  });

  const user = (index: number) => ({ kind: 'user', id: people[index]!.id });

  /** An escalation over tiers of ten minutes each; its subject is nobody else's. */
  async function open(tiers: ReadonlyArray<readonly object[]>): Promise<{ subject: string; id: string }> {
    const story = `story ${(stories += 1)}`;
    const trigger = { matchers: [{ key: 'label.story', op: '=', value: story }] };
    const { id: policyId } = await tocsin.call('POST', '/escalation-policies', {
      name: story,
      trigger,
      tiers: tiers.map((targets) => ({ targets, timeout: 'PT10M' })),
    });
    const subject = `Subject of ${story}`;
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject, dedupKey: story, labels: { story } });
    const { data } = await tocsin.get(`/escalations?policyId=${policyId}`);
    return { subject, id: data[0].id };
  }

  /** Who got which mail, in order. */
  const mailed = (subject: string): string[] => mail.mails.filter(({ raw }) => raw.includes(subject)).flatMap(({ to }) => to);
  const mailsOf = async (subject: string, count: number): Promise<string[]> =>
    waitFor(
      async () => mailed(subject),
      (to) => to.length >= count,
      { what: `${count} mails` },
    );

  async function read(id: string): Promise<Json> {
    return tocsin.get(`/escalations/${id}`);
  }

  test('hands over at once when its mail is refused, and not again when somebody has acknowledged', async () => {
    mail.script.rcpt = { 'u1@example.com': { status: 550, message: 'No such user' } };
    const { subject, id } = await open([[user(0)], [user(1)], [user(2)]]);
    const openedAt = Date.now();
    expect(await mailsOf(subject, 1)).toEqual(['u2@example.com']);
    // Not in ten minutes, and not only with the relay's next round.
    expect(Date.now() - openedAt).toBeLessThan(2_000);
    await tocsin.call('POST', `/escalations/${id}/acknowledge`);
    await sleep(3_000);
    expect(mailed(subject)).toEqual(['u2@example.com']);
    const { firings } = await read(id);
    expect(firings).toMatchObject([
      { tier: 1, failingAt: expect.any(String), pages: [{ state: 'failed', errorCode: 'smtp_5yz' }] },
      { tier: 2, reason: 'tier_unreachable', failingAt: null, pages: [{ state: 'delivered' }] },
    ]);
    const { data } = await tocsin.get(`/escalations/${id}/timeline`);
    expect(data.map(({ kind }: Json) => kind)).toEqual([
      'opened',
      'tier_fired',
      'delivery',
      'tier_unreachable',
      'tier_fired',
      'delivery',
      'acknowledged',
    ]);
  });

  test('hands over at the second answer that only asks for later, and is tried on all the same', async () => {
    const later = { status: 451, message: 'Try again later' };
    mail.script.rcpt = { 'u1@example.com': later };
    const { subject, id } = await open([[user(0)], [user(1)]]);
    await mailsOf(subject, 1);
    const [first] = (await read(id))['firings'];
    const { attempts } = await tocsin.get(`/deliveries/${first.pages[0].deliveryId}`);
    expect(attempts.map(({ outcome }: Json) => outcome)).toEqual(['retryable', 'retryable']);
    mail.script.rcpt = {};
    expect(await mailsOf(subject, 2)).toEqual(['u2@example.com', 'u1@example.com']);
  });

  test('hands over at once when a receiver wants to be asked again only in ten minutes', async () => {
    const hook = await tocsin.hook({ types: ['job.completed'], answers: [{ status: 503, headers: { 'retry-after': '600' } }] });
    const { subject, id } = await open([[{ kind: 'webhook', id: hook.id }], [user(1)]]);
    expect(await mailsOf(subject, 1)).toEqual(['u2@example.com']);
    expect((await read(id))['firings'][0]).toMatchObject({ failingAt: expect.any(String), pages: [{ state: 'retrying' }] });
  });

  test('hands over when the channel of its page is switched off', async () => {
    const path = '/off';
    tocsin.receiver.script(path, [503]);
    const retryPolicy = { kind: 'custom', delaysSeconds: [0, 2] };
    const settings = { url: tocsin.receiver.url(path) };
    const { id: channelId } = await tocsin.call('POST', '/channels', { name: 'off', type: 'webhook', settings, retryPolicy });
    mail.script.rcpt = {};
    const { subject, id } = await open([[{ kind: 'channel', id: channelId }], [user(1)]]);
    await tocsin.receiver.waitForArrivals(1, { path });
    await tocsin.call('PATCH', `/channels/${channelId}`, { active: false });
    expect(await mailsOf(subject, 1)).toEqual(['u2@example.com']);
    expect((await read(id))['firings'][0].pages).toMatchObject([{ state: 'cancelled', errorCode: 'destination_inactive' }]);
  });

  test('does not hand over while one of its pages arrives', async () => {
    mail.script.rcpt = { 'u1@example.com': { status: 550, message: 'No such user' } };
    const { subject, id } = await open([[user(0), user(1)], [user(2)]]);
    expect(await mailsOf(subject, 1)).toEqual(['u2@example.com']);
    await waitFor(
      async () => read(id),
      ({ firings }) => firings[0].pages.every(({ state }: Json) => state === 'delivered' || state === 'failed'),
      { what: 'both pages' },
    );
    await sleep(3_000);
    expect(mailed(subject)).toEqual(['u2@example.com']);
    expect(await read(id)).toMatchObject({ tier: 1, firings: [{ failingAt: null }] });
  });
});
