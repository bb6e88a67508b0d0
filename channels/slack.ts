import { z } from 'zod';
import type { Classification } from '../domain/delivery.ts';
import type { MessageView } from '../domain/message.ts';
import type { HttpResponse } from '../domain/outbound.ts';
import { classifyFault, isFinalStatus, retryAfterOf } from '../domain/webhook.ts';
import { defineChannel, urlIssues, type SettingsIssue } from './channel.ts';
import { renderButtons } from './slack-buttons.ts';
import { escapeSlack, loadTemplate } from './templates/render.ts';
import { cutText } from './text.ts';
import { userAgent } from './user-agent.ts';

interface SlackSettings {
  webhookUrl: string;
  channel?: string | undefined;
  followUp: boolean;
}

const settingsSchema = z.strictObject({
  webhookUrl: z.string().min(1).max(2_048),
  /** Only old incoming webhooks honour it. */
  channel: z
    .string()
    .regex(/^[#@]?[\p{L}\p{N}_.-]{1,80}$/u, 'must be #channel, @user or an id')
    .optional(),
  /** What becomes of an escalation is posted as a message of its own, where the policy wants that as well: no posted one can be changed. */
  followUp: z.boolean().default(false),
}) satisfies z.ZodType<SlackSettings>;

/** Slack's limits in UTF-16 units: a header block, a section, a field of a section, fields of a section. */
const limits = { header: 150, section: 3_000, field: 2_000, fields: 10 } as const;

const templates = {
  title: loadTemplate('slack', 'title', 'slack'),
  subject: loadTemplate('slack', 'subject', 'slack'),
  message: loadTemplate('slack', 'message', 'slack'),
  headline: loadTemplate('slack', 'headline', 'slack'),
  context: loadTemplate('slack', 'context', 'slack'),
};

/** Slack by an incoming webhook: it can post, and nothing else. */
export const slackChannel = defineChannel<SlackSettings>({
  type: 'slack',
  settingsSchema,
  secretFields: ['webhookUrl'],
  validate({ webhookUrl }, policy) {
    const fault = policy.checkUrl(webhookUrl);
    if (fault !== undefined) return urlIssues('webhookUrl', fault);
    const url = new URL(webhookUrl);
    return policy.allowsUrl(url) ? [] : hostIssues(url);
  },
  // whoever has the path can post: Slack's answers may quote it without the host
  secretsOf: ({ webhookUrl }) => [webhookUrl, ...(URL.canParse(webhookUrl) ? [new URL(webhookUrl).pathname] : [])],
  render(view, { webhookUrl, channel }, { deliveryId }) {
    const { payload, truncated } = renderPayload(view, channel, deliveryId);
    const headers = { 'Content-Type': 'application/json; charset=utf-8', 'User-Agent': userAgent };
    const body = Buffer.from(JSON.stringify(payload));
    return {
      request: { kind: 'http', method: 'POST', url: webhookUrl, headers, privateHeaders: new Set(), body, bodyDecides: true },
      truncated,
    };
  },
  classify(response, _settings, { nowMs }) {
    switch (response.kind) {
      case 'fault':
        return classifyFault(response);
      case 'http':
        return classifyAnswer(response, nowMs);
      case 'smtp':
        throw new Error('An SMTP session cannot answer for Slack');
    }
  },
});

function hostIssues(url: URL): SettingsIssue[] {
  const expected = url.protocol === 'https:' && url.hostname === 'hooks.slack.com' && url.port === '';
  return expected ? [] : [{ path: ['webhookUrl'], code: 'unexpected_host', message: 'must begin with https://hooks.slack.com/' }];
}

/** The payload; drops fields from the last, then shortens the message, never the link. */
function renderPayload(view: MessageView, channel: string | undefined, deliveryId: string): { payload: object; truncated: boolean } {
  const title = cutText(templates.title(view), limits.section);
  const header = cutText(templates.subject(view), limits.header);
  const headline = view.escalation === null ? { text: '', cut: false } : cutText(templates.headline(view), limits.section);
  const message = cutText(templates.message(view), limits.section);
  const shown = view.fields
    .slice(0, limits.fields)
    .map(({ name, value }) => cutText(`*${escapeSlack(name)}*\n${escapeSlack(value)}`, limits.field));
  const context = cutText(templates.context(view), limits.field);
  const links = linkLine(view);

  const blocks: object[] = [{ type: 'header', text: { type: 'plain_text', text: header.text, emoji: false } }];
  if (headline.text !== '') blocks.push({ type: 'section', text: mrkdwn(headline.text) });
  if (message.text !== '') blocks.push({ type: 'section', text: mrkdwn(message.text) });
  if (shown.length > 0) blocks.push({ type: 'section', fields: shown.map(({ text }) => mrkdwn(text)) });
  if (view.escalation !== null) blocks.push(...renderButtons(view.escalation, deliveryId));
  blocks.push({ type: 'context', elements: [mrkdwn(context.text), ...(links.text === '' ? [] : [mrkdwn(links.text)])] });

  const attachment = { color: view.color, fallback: title.text, blocks };
  return {
    payload: { text: title.text, ...(channel === undefined ? {} : { channel }), attachments: [attachment] },
    truncated: [title, header, headline, message, context, links, ...shown].some(({ cut }) => cut) || view.fields.length > limits.fields,
  };
}

/** `verbatim`: Slack must not make links or mentions of names that it finds in the text. */
function mrkdwn(text: string): object {
  return { type: 'mrkdwn', text, verbatim: true };
}

/** The event's own page first; whole links only, as many as fit. */
function linkLine(view: MessageView): { text: string; cut: boolean } {
  const links = [...(view.url === null ? [] : [{ href: view.url, title: 'Open the event' }]), ...view.links];
  let text = '';
  let cut = false;
  for (const { href, title } of links) {
    if (!URL.canParse(href)) continue;
    // parsing encodes what would end the link, except the `|` that ends the address
    const address = escapeSlack(new URL(href).href.replaceAll('|', '%7C'));
    const link = `<${address}|${escapeSlack(title.replaceAll(/[|\r\n]/g, ' '))}>`;
    const longer = text === '' ? link : `${text}  ${link}`;
    if (longer.length > limits.field) cut = true;
    else text = longer;
  }
  return { text, cut };
}

/** Slack's error words, which come as the body with various statuses. */
const retryableWords = new Set(['internal_error', 'fatal_error', 'rollup_error', 'timeout']);
const messageWords = new Set([
  'msg_too_long',
  'invalid_blocks',
  'invalid_payload',
  'no_text',
  'too_many_attachments',
  'invalid_attachments',
]);
const authWords = new Set(['invalid_auth', 'invalid_token', 'token_revoked', 'token_expired', 'account_inactive', 'action_prohibited']);
const destinationWords = new Set([
  'not_in_channel',
  'channel_not_found',
  'channel_is_archived',
  'is_archived',
  'no_service',
  'no_service_id',
  'no_team',
  'team_disabled',
  'user_not_found',
  'posting_to_general_channel_denied',
]);

/** Success is status 200 and the body `ok`; every other answer of Slack's has its place here. */
function classifyAnswer(response: HttpResponse, nowMs: number): Classification {
  const { status } = response;
  if (!isFinalStatus(status)) return { outcome: 'retryable', errorCode: 'protocol_error', detail: `status ${status}` };
  const word = Buffer.from(response.body).toString('utf8').trim().slice(0, 100);
  if (status === 200 && word === 'ok' && !response.bodyTruncated) return { outcome: 'delivered' };

  const named = /^[a-z_]+$/.test(word) ? word : '';
  const detail = `Slack answered ${status}${named === '' ? '' : ` ${named}`}`;
  const retryAfterMs = retryAfterOf(response, nowMs);
  if (status === 429 || named === 'ratelimited' || named === 'rate_limited') {
    return { outcome: 'retryable', errorCode: 'rate_limited', detail, retryAfterMs, scope: 'destination', sparesSchedule: true };
  }
  if (status >= 500) return { outcome: 'retryable', errorCode: 'http_5xx', detail, retryAfterMs };
  if (retryableWords.has(named)) return { outcome: 'retryable', errorCode: 'provider_error', detail, retryAfterMs };
  if (messageWords.has(named)) return { outcome: 'rejected', errorCode: 'message_rejected', detail, scope: 'message' };
  if (authWords.has(named)) return { outcome: 'rejected', errorCode: 'auth_failed', detail, scope: 'auth' };
  if (destinationWords.has(named)) return { outcome: 'rejected', errorCode: 'destination_gone', detail, scope: 'destination' };
  switch (status) {
    case 400:
      return { outcome: 'rejected', errorCode: 'message_rejected', detail, scope: 'message' };
    case 413:
      return { outcome: 'rejected', errorCode: 'payload_too_large', detail, scope: 'message' };
    case 401:
    case 403:
      return { outcome: 'rejected', errorCode: 'auth_failed', detail, scope: 'auth' };
    case 404:
    case 410:
      return { outcome: 'rejected', errorCode: 'destination_gone', detail, scope: 'destination' };
  }
  if (status >= 400) return { outcome: 'retryable', errorCode: 'http_4xx', detail, retryAfterMs };
  if (status >= 300) return { outcome: 'retryable', errorCode: 'redirect_refused', detail };
  // some 2xx without `ok`: a proxy or another server answers in Slack's place
  return { outcome: 'retryable', errorCode: 'provider_error', detail: `${detail} without ok`, retryAfterMs };
}
