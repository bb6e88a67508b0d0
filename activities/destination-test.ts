import type { MikroORM } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { OrganizationEntity } from '../db/entities/organization.ts';
import { inOrganization } from '../db/tenant.ts';
import { type MessageView, viewTestMessage } from '../domain/message.ts';
import type { Egress } from '../egress/guard.ts';
import { pingEventType, renderPingBody } from '../channels/webhook.ts';
import type { DestinationTestInput } from '../workflows/messages.ts';
import { makeContactCode, voidContactCode } from './contact-code.ts';
import type { Destination, Destinations, Outgoing } from './destination.ts';
import { sendAttempt } from './send.ts';

export interface DestinationTestDependencies {
  orm: MikroORM;
  destinations: Destinations;
  egress: Egress;
  stopping: AbortSignal;
}

const maxShownBody = 64 * 1_024;

export function createDestinationTestActivities({ orm, destinations, egress, stopping }: DestinationTestDependencies) {
  /**
   * One attempt with the same guard, signing, deadline and capture as a delivery, outside the history: no delivery, no attempt row, no
   * effect on the destination. @returns the id of the row that holds the result
   */
  async function testDestination(input: DestinationTestInput): Promise<string> {
    const { testId, organizationId, kind, destinationId } = input;
    const messageId = `evt_test_${testId.replaceAll('-', '')}`;
    const { destination, body = null, view } = await prepare(input, messageId);
    const outgoing: Omit<Outgoing, 'nowMs'> = {
      eventId: testId,
      messageId,
      eventType: pingEventType,
      deliveryId: testId,
      attempt: 1,
      providerRef: undefined,
      body,
      view: async () => view,
    };
    const { attempt } = await sendAttempt({ egress, stopping }, destination, outgoing);
    const { row, classification } = attempt;
    // a message with a code is for the reader of that address alone
    const requestBody = kind === 'contact' ? null : attempt.requestBody;
    if (kind === 'contact' && classification.outcome !== 'delivered') await voidContactCode(orm, { organizationId, codeId: destinationId });
    const result = {
      success: classification.outcome === 'delivered',
      statusCode: row.statusCode ?? null,
      errorCode: row.errorCode ?? null,
      detail: row.errorDetail ?? null,
      durationMs: row.durationMs,
      remoteAddress: row.remoteAddress ?? null,
      requestHeaders: row.requestHeaders ?? {},
      requestBody: requestBody === null ? null : destination.redact(requestBody.toString('utf8')).slice(0, maxShownBody),
      responseHeaders: row.responseHeaders ?? {},
      responseBody: row.responseBody ?? null,
      responseTruncated: row.responseTruncated ?? false,
    };
    await inOrganization(orm, organizationId, async (em) =>
      sql`insert into destination_test (org_id, id, result, created_at)
        values (${organizationId}, ${testId}, ${JSON.stringify(result)}::jsonb, now()) on conflict do nothing`.execute(em.getKysely()),
    );
    return testId;
  }

  /** Where the message goes and what it says; a webhook's is its body. */
  async function prepare(
    { organizationId, kind, destinationId }: DestinationTestInput,
    messageId: string,
  ): Promise<{ destination: Destination; body?: Buffer; view: MessageView }> {
    if (kind === 'contact') return makeContactCode({ orm, destinations }, { organizationId, codeId: destinationId }, messageId);
    const nowMs = Date.now();
    const destination = await destinations.read(organizationId, destinationId);
    const { name } = await inOrganization(orm, organizationId, async (em) => em.findOneOrFail(OrganizationEntity, { id: organizationId }));
    const view = viewTestMessage({ id: messageId, nowMs, channelName: destination.name, organization: { id: organizationId, name } });
    if (kind === 'channel') return { destination, view };
    return { destination, view, body: renderPingBody({ id: messageId, nowMs, organizationId, webhookId: destinationId }) };
  }

  return { testDestination };
}
