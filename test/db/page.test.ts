import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readPage } from '../../db/queries/page.ts';
import type { PageMark } from '../../db/queries/run.ts';
import { createSecretBox, type SecretBox } from '../../db/secrets.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { EscalationNews } from '../../domain/escalation-news.ts';
import { fromWireId, newId, toWireId } from '../../domain/id.ts';
import type { MessageView } from '../../domain/message.ts';
import { createStage, type OpenEscalation } from '../api/escalation-stage.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
let escalation: OpenEscalation;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
  escalation = await createStage(api).openEscalation(ours);
});
afterAll(() => api.stop());

const channelId = newId(Date.now());

async function view(mark: Partial<PageMark> = {}, channel = channelId): Promise<MessageView> {
  return (await read(mark, channel)).view;
}

async function read(mark: Partial<PageMark> = {}, channel = channelId): ReturnType<typeof readPage> {
  const page = {
    escalationId: escalation.uuid,
    firing: 1,
    purpose: 'page',
    contactMethodId: null,
    updateOf: null,
    news: null,
    ...mark,
  } as const;
  const wanted = { mark: page, channelId: channel, publicUrl: api.url, secrets: api.deps.secrets };
  return inOrganization(api.orm, ours.id, async (em) =>
    readPage(em, ours.id, { eventId: fromWireId('event', escalation.eventId)!, ...wanted }),
  );
}

test('a page says the same at every attempt, whatever became of its escalation', async () => {
  const before = await view();
  expect(before.escalation).toMatchObject({ id: escalation.id, headline: 'Tier 1 is paged', state: 'triggered', replyTo: null });
  await escalation.command('escalate', { expected: { round: 1, tier: 1 } });
  await escalation.command('acknowledge');
  expect(await view()).toEqual(before);
});

test('an update says who did what, which page it follows, and belongs to the same thread', async () => {
  const updateOf = newId(Date.now());
  const told = async (by: Extract<EscalationNews, { kind: 'change' }>['by']) => {
    const news = { kind: 'change', change: 'acknowledged', reason: null, by, round: 2, tier: 3 } as const;
    return view({ firing: null, purpose: 'escalation_update', updateOf, news });
  };
  const update = await told({ type: 'user', id: ours.ownerId });
  expect(update.escalation).toMatchObject({
    headline: 'Acknowledged by owner: nobody else is paged',
    state: 'acknowledged',
    round: 2,
    tier: 3,
    replyTo: toWireId('delivery', updateOf),
    acknowledgeUrl: null,
  });
  expect(update.threadKey).toBe((await view()).threadKey);
  // Who is only claimed is told as claimed; who is not known any more is not told.
  expect((await told({ type: 'user', id: 'pager-app' })).escalation!.headline).toBe('Acknowledged by pager-app: nobody else is paged');
  expect((await told({ type: 'user', id: newId(Date.now()) })).escalation!.headline).toBe('Acknowledged: nobody else is paged');
});

test('presses are taken where an active Slack integration is for this channel, or for all', async () => {
  const takes = async () => (await view()).escalation!.takesPresses;
  expect(await takes()).toBe(false);
  const body = { name: 'slack', type: 'slack', settings: { teamId: 'T0123ABCD', signingSecret: 'a-signing-secret-of-slack' } };
  const { body: integration } = await api.request('POST', '/integrations', { key: ours.key, body });
  const change = async (fields: object) => api.request('PATCH', `/integrations/${integration['id']}`, { key: ours.key, body: fields });
  expect(await takes()).toBe(true);
  await change({ active: false });
  expect(await takes()).toBe(false);
  const settings = { webhookUrl: 'https://hooks.slack.com/services/T/B/X' };
  const other = await api.request('POST', '/channels', { key: ours.key, body: { name: 'other', type: 'slack', settings } });
  const otherId = fromWireId('channel', other.body['id']);
  await change({ active: true, settings: { channelId: other.body['id'] } });
  expect(await takes()).toBe(false);
  expect((await view({}, otherId)).escalation!.takesPresses).toBe(true);
  await api.request('DELETE', `/integrations/${integration['id']}`, { key: ours.key });
  expect((await view({}, otherId)).escalation!.takesPresses).toBe(false);
});

test("a page carries its reader's link, and goes out without it rather than not at all when the key is gone", async () => {
  const settings = { host: 'mail.example.com', from: 'tocsin@example.com' };
  const sender = await api.request('POST', '/channels', { key: ours.key, body: { name: 'sender', type: 'email', settings } });
  await api.request('PATCH', '/organization', { key: ours.key, body: { settings: { senderChannels: { email: sender.body['id'] } } } });
  const { id: member } = await api.buildMember(ours, 'operator');
  const paging = await createStage(api).openEscalation(ours, {
    policy: { tiers: [{ targets: [{ kind: 'user', id: toWireId('user', member) }] }] },
  });
  const [{ pages }] = (await paging.read())['firings'];
  const contactMethodId = fromWireId('contact_method', pages[0].recipient.id)!;
  const linkBy = async (secrets: SecretBox) => {
    const told = await inOrganization(api.orm, ours.id, async (em) =>
      readPage(em, ours.id, {
        eventId: fromWireId('event', paging.eventId)!,
        mark: { escalationId: paging.uuid, firing: 1, purpose: 'page', contactMethodId, updateOf: null, news: null },
        channelId,
        publicUrl: api.url,
        secrets,
      }),
    );
    return told.view.escalation!.acknowledgeUrl;
  };
  expect(await linkBy(api.deps.secrets)).toMatch(/\/l\/[A-Za-z0-9_-]+$/);
  expect(await linkBy(createSecretBox([{ id: 'another', key: randomBytes(32) }]))).toBeNull();
});

test('a mandatory mail that no person can get goes to the address that the organization keeps for that, and nothing else does', async () => {
  const change = async (fallbackEmail: string | null) =>
    api.request('PATCH', '/organization', { key: ours.key, body: { settings: { fallbackEmail } } });
  const addressOf = async (mark: Partial<PageMark>) => (await read({ contactMethodId: null, ...mark })).address;
  await change('duty@example.com');
  expect(await addressOf({ purpose: 'mandatory', escalationId: null, firing: null })).toBe('duty@example.com');
  expect(await addressOf({ purpose: 'mandatory' })).toBe('duty@example.com');
  expect(await addressOf({ purpose: 'page' })).toBeNull();
  await change(null);
  expect(await addressOf({ purpose: 'mandatory', escalationId: null, firing: null })).toBeNull();
});
