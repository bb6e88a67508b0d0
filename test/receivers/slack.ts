import { startHttpReceiver, type Answer, type HttpReceiver, type HttpReceiverOptions } from './http.ts';

export const slackPath = '/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX';

/** What Slack's incoming webhooks answer. */
export const slackAnswers = {
  ok: { status: 200, headers: { 'content-type': 'text/html' }, body: 'ok' },
  rateLimited: { status: 429, headers: { 'retry-after': '2' }, body: 'rate_limited' },
  invalidPayload: { status: 400, body: 'invalid_payload' },
  invalidToken: { status: 403, body: 'invalid_token' },
  noService: { status: 404, body: 'no_service' },
  archived: { status: 410, body: 'channel_is_archived' },
  internalError: { status: 500, body: 'internal_error' },
} as const satisfies Record<string, Answer>;

/** A receiver that speaks like hooks.slack.com at `slackPath`. */
export async function startSlackReceiver(options: HttpReceiverOptions = {}): Promise<HttpReceiver & { readonly webhookUrl: string }> {
  const receiver = await startHttpReceiver(options);
  receiver.script(slackPath, [], slackAnswers.ok);
  return Object.assign(receiver, { webhookUrl: receiver.url(slackPath) });
}
