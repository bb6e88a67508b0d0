import { z } from 'zod';
import { appendAudit } from '../db/audit-log.ts';
import { inOrganization } from '../db/tenant.ts';
import { DomainError } from '../domain/errors.ts';
import { findChannel } from './channels.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import type { OwnTransactionContext } from './endpoint.ts';
import { idParams } from './schema.ts';
import { findWebhook } from './webhooks.ts';

const testResult = z
  .strictObject({
    success: z.boolean(),
    statusCode: z.int().nullable(),
    errorCode: z.string().nullable(),
    detail: z.string().nullable().meta({ description: 'What went wrong, for people.' }),
    durationMs: z.int(),
    remoteAddress: z.string().nullable(),
    requestHeaders: z.record(z.string(), z.string()),
    requestBody: z.string().nullable(),
    responseHeaders: z.record(z.string(), z.string()),
    responseBody: z.string().nullable(),
    responseTruncated: z.boolean(),
  })
  .meta({ id: 'DestinationTest' });

const perMinute = 10;
const windowMs = 60_000;
/** Beyond this many destinations all are forgotten, so that the memory stays small. */
const remembered = 10_000;
/** Times of the last tests of each destination; a test is a request to somebody else's server. */
const recentTests = new Map<string, number[]>();

function admitTest(id: string, nowMs: number): void {
  const recent = (recentTests.get(id) ?? []).filter((atMs) => nowMs - atMs < windowMs);
  if (recent.length >= perMinute) {
    const retryAfterSeconds = Math.ceil((recent[0]! + windowMs - nowMs) / 1000);
    throw new DomainError('rate_limited', `A destination can be tested ${perMinute} times a minute.`, { retryAfterSeconds });
  }
  if (recentTests.size >= remembered) recentTests.clear();
  recentTests.set(id, [...recent, nowMs]);
}

/** One attempt and its audit entry. No transaction is open while the receiver takes its time. */
async function runTest(context: OwnTransactionContext, kind: 'webhook' | 'channel', id: string) {
  const { principal, deps, now, trail } = context;
  const { organizationId } = principal;
  const { name, channelType } = await inOrganization(deps.orm, organizationId, async (em) => {
    if (kind === 'webhook') return { name: (await findWebhook(em, organizationId, id)).name, channelType: 'webhook' };
    const channel = await findChannel(em, organizationId, id);
    return { name: channel.name, channelType: channel.type };
  });
  admitTest(id, now.getTime());
  const result = await deps.testDestination({ organizationId, kind, id, channelType });
  const entry = trail.complete(
    {
      status: result.success ? 'success' : 'failure',
      ...(result.errorCode === null ? {} : { reason: result.errorCode }),
      resource: { type: kind, id, name },
      details: { statusCode: result.statusCode, durationMs: result.durationMs },
    },
    200,
  );
  context.auditedAs(await inOrganization(deps.orm, organizationId, (em) => appendAudit(em, [entry])));
  return { body: result };
}

const description =
  'Waits for the answer. It is no delivery: no history, no effect on health. 200 whenever an attempt was made, also for an inactive destination. Ten times a minute at most.';

const testWebhook = ownTransactionEndpoint({
  name: 'webhook.test',
  method: 'post',
  path: '/webhooks/{id}/test',
  tag: 'Webhooks',
  summary: 'Send a signed ping now',
  description,
  permission: 'monitoring.manage',
  params: idParams('webhook'),
  responses: { 200: { description: 'What came of it.', schema: testResult } },
  handler: async (context) => runTest(context, 'webhook', context.input.params.id),
});

const testChannel = ownTransactionEndpoint({
  name: 'channel.test',
  method: 'post',
  path: '/channels/{id}/test',
  tag: 'Channels',
  summary: 'Send a test message now',
  description,
  permission: 'monitoring.manage',
  params: idParams('channel'),
  responses: { 200: { description: 'What came of it.', schema: testResult } },
  handler: async (context) => runTest(context, 'channel', context.input.params.id),
});

export const destinationTestEndpoints = [testWebhook, testChannel];
