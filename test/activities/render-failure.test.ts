import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createDestinations } from '../../activities/destination.ts';
import type { PageMark } from '../../db/queries/run.ts';
import { fromWireId, newId } from '../../domain/id.ts';
import { startApi, type TestApi, type TestOrganization } from '../api/start-api.ts';

let api: TestApi;
let ours: TestOrganization;
beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization();
});
afterAll(() => api.stop());

const page: Omit<PageMark, 'escalationId'> = { firing: 1, purpose: 'page', contactMethodId: null, updateOf: null, news: null };

/** What an attempt of a message through a new e-mail sender makes of it. */
async function build(mark: PageMark | null, eventId: string) {
  const settings = { host: 'mail.example.com', from: 'tocsin@example.com', to: ['a@example.com'] };
  const body = { name: `sender ${newId(Date.now())}`, type: 'email', settings };
  const { id } = (await api.request('POST', '/channels', { key: ours.key, body })).body;
  const destinations = createDestinations({ orm: api.orm, secrets: api.deps.secrets, publicUrl: 'https://tocsin.example.com' });
  const destination = await destinations.read(ours.id, fromWireId('channel', id)!);
  const nowMs = Date.now();
  return destination.build({
    eventId,
    eventType: 'alert.fired',
    deliveryId: newId(nowMs),
    attempt: 1,
    nowMs,
    providerRef: undefined,
    body: null,
    page: mark,
  });
}

test('a message that cannot be made is an attempt that failed, not one that nobody finishes', async () => {
  const unknown = newId(Date.now());
  for (const mark of [null, { ...page, escalationId: unknown }])
    expect(await build(mark, unknown)).toMatchObject({
      verdict: { outcome: 'retryable', errorCode: 'render_failed', sparesSchedule: true },
    });
});
