import { z } from 'zod';
import { checkHeaders } from '../domain/header.ts';
import { toWireId } from '../domain/id.ts';
import type { EscalationPart, MessageView } from '../domain/message.ts';
import { parseSecret, secretFaultDetails } from '../domain/signature.ts';
import { classifyWebhook, webhookRules } from '../domain/webhook.ts';
import { defineChannel, urlIssues, type SettingsIssue } from './channel.ts';
import { buildWebhookRequest } from './webhook-request.ts';

export interface PingInput {
  /** `evt_test_` + something random. */
  readonly id: string;
  readonly nowMs: number;
  /** UUIDs. */
  readonly organizationId: string;
  readonly webhookId: string;
}

export const pingEventType = 'webhook.ping';

/** The body of a webhook's synchronous test. */
export function renderPingBody({ id, nowMs, organizationId, webhookId }: PingInput): Buffer {
  const ping = {
    id,
    type: pingEventType,
    timestamp: new Date(nowMs).toISOString(),
    org_id: toWireId('organization', organizationId),
    data: { webhook_id: toWireId('webhook', webhookId), message: 'Test delivery from Tocsin' },
  };
  return Buffer.from(JSON.stringify(ping));
}

interface WebhookChannelSettings {
  url: string;
  secret?: string | undefined;
  headers?: Record<string, string> | undefined;
}

const settingsSchema = z.strictObject({
  url: z.string().min(1).max(webhookRules.urlBytes),
  secret: z.string().min(1).max(256).optional(),
  headers: z.record(z.string(), z.string()).optional(),
}) satisfies z.ZodType<WebhookChannelSettings>;

/** A channel that posts the message as JSON: what `webhook` subscriptions do for events, for whatever routing sends to channels. */
export const webhookChannel = defineChannel<WebhookChannelSettings>({
  type: 'webhook',
  settingsSchema,
  secretFields: ['secret', 'headers'],
  validate: ({ url, secret, headers = {} }, policy) => [
    ...urlIssues('url', policy.checkUrl(url)),
    ...secretIssues(secret),
    ...checkHeaders(headers).map(({ name, code, detail }) => ({
      path: name === undefined ? ['headers'] : ['headers', name],
      code,
      message: detail,
    })),
  ],
  secretsOf: ({ secret, headers = {} }) => [...(secret === undefined ? [] : [secret]), ...Object.values(headers)],
  render(view, { url, secret, headers = {} }, { deliveryId, attempt, nowMs }) {
    const parsed = secret === undefined ? null : parseSecret(secret);
    if (parsed !== null && 'fault' in parsed) {
      return {
        verdict: {
          outcome: 'rejected',
          errorCode: 'config_invalid',
          detail: `the secret is not valid: ${parsed.fault}`,
          scope: 'destination',
        },
      };
    }
    const id = toWireId('delivery', deliveryId);
    const keys = parsed === null ? null : { current: parsed.key, previous: [] };
    const message = { eventType: view.event.type, id, deliveryId: id, attempt, nowMs, body: renderMessageBody(view, id) };
    return { request: buildWebhookRequest({ url, headers, keys }, message), truncated: false };
  },
  classify: (response, _settings, { nowMs }) => classifyWebhook(response, { retryClientErrors: true, nowMs }),
});

function secretIssues(secret: string | undefined): SettingsIssue[] {
  const parsed = secret === undefined ? undefined : parseSecret(secret);
  if (parsed === undefined || !('fault' in parsed)) return [];
  return [{ path: ['secret'], code: parsed.fault, message: secretFaultDetails[parsed.fault] }];
}

/** Empty parts are left out; `data` is the producer's text. */
function renderMessageBody(view: MessageView, id: string): Buffer {
  const head: Record<string, unknown> = { id, type: view.event.type, timestamp: view.occurredAt, subject: view.subject };
  if (view.message !== '') head['message'] = view.message;
  head['severity'] = view.severity;
  head['source'] = view.source;
  head['event_id'] = view.event.id;
  head['project_id'] = view.project?.id ?? null;
  head['escalation'] = view.escalation && escalationOf(view.escalation);
  if (view.url !== null) head['url'] = view.url;
  const text = JSON.stringify(head);
  return Buffer.from(view.data === null ? text : `${text.slice(0, -1)},"data":${view.data}}`);
}

function escalationOf({ id, tier, round, state }: EscalationPart): object {
  return { id, tier, round, state };
}
