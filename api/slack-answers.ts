import type { EscalationRow } from '../db/queries/escalation-list.ts';
import type { DestinationPolicy } from '../domain/channel.ts';
import type { RefusalCode } from '../domain/escalation-effect.ts';
import type { SlackPress } from '../domain/slack-interaction.ts';
import { escapeSlack } from '../channels/templates/render.ts';
import { userAgent } from '../channels/user-agent.ts';
import type { Egress } from '../egress/guard.ts';

/** What became of a button that somebody pressed. */
export type PressResult =
  | { kind: 'unlinked' | 'not_allowed' | 'unknown' }
  /** Slack told of it before: it was answered then. */
  | { kind: 'repeated' }
  | { kind: 'refused'; code: RefusalCode; escalation: EscalationRow }
  /** `isNews`: this press did it. `acknowledgedBy`: a name, when it was somebody else. */
  | { kind: 'done'; isNews: boolean; escalation: EscalationRow; acknowledgedBy: string | null };

/** A message for a response URL (https://docs.slack.dev/interactivity/handling-user-interaction). */
export type SlackAnswer =
  | { replace_original: true; text: string; blocks: readonly unknown[] }
  | { replace_original: true; text: string; attachments: ReadonlyArray<{ color?: string; fallback?: string; blocks: readonly unknown[] }> }
  /** Only the presser sees it. */
  | { replace_original: false; response_type: 'ephemeral'; text: string };

const deadlineMs = 10_000;
const stateBlockId = 'tocsin_state';

/** The message as it is from now on, or a word to the presser; null: there is nothing to say. */
export function answerPress(press: SlackPress, result: PressResult): SlackAnswer | null {
  switch (result.kind) {
    case 'repeated':
      return null;
    case 'unlinked':
      return whisper(
        'Nothing was done: your Slack account is not linked to a member. Link your account: an administrator adds you to the integration.',
      );
    case 'not_allowed':
      return whisper('Nothing was done: you may not answer for this escalation, and it has not paged you.');
    case 'unknown':
      return whisper('Nothing was done: there is no such escalation any more.');
    case 'refused':
      return whisper(`Nothing was done: ${explain(result.code, result.escalation)}`);
    case 'done': {
      const text = tellState(press, result);
      if (press.message.blocks.length === 0) return whisper(text);
      const blocks = withState(press, result, text);
      const { attachment, text: shown } = press.message;
      if (attachment === null) return { replace_original: true, text, blocks };
      // What stands above the attachment is read with it, not instead of it.
      return { replace_original: true, text: shown ?? text, attachments: [{ ...attachment, blocks }] };
    }
  }
}

/**
 * Sends the answer through the guarded egress, once: the message is a courtesy, the row is what counts. The URL is a capability and stays out
 * of the error.
 * @throws Error when Slack did not take it
 */
export async function sendSlackAnswer(
  { egress, destinations }: { egress: Pick<Egress, 'sendHttp'>; destinations: Pick<DestinationPolicy, 'allowsUrl'> },
  responseUrl: string,
  answer: SlackAnswer,
): Promise<void> {
  if (!isAnswerable(responseUrl, destinations)) throw new Error("Slack was not answered: the URL is not one of Slack's");
  const result = await egress.sendHttp(
    {
      kind: 'http',
      method: 'POST',
      url: responseUrl,
      headers: { 'Content-Type': 'application/json; charset=utf-8', 'User-Agent': userAgent },
      privateHeaders: new Set(),
      body: Buffer.from(JSON.stringify(answer)),
      bodyDecides: false,
    },
    { deadlineMs },
  );
  if (result.kind === 'fault') throw new Error(`Slack was not answered: ${result.code}`);
  if (result.status >= 300) throw new Error(`Slack did not take the answer: ${result.status}`);
}

/** Whoever knows a signing secret can name any URL: answers go to Slack's own, and to what the operator allows. */
function isAnswerable(text: string, { allowsUrl }: Pick<DestinationPolicy, 'allowsUrl'>): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return allowsUrl(url) || (url.protocol === 'https:' && url.hostname === 'hooks.slack.com' && url.port === '');
}

function whisper(text: string): SlackAnswer {
  return { replace_original: false, response_type: 'ephemeral', text };
}

function explain(code: RefusalCode, { status, round, tier }: EscalationRow): string {
  switch (code) {
    case 'wrong_state':
      return `the escalation is ${status}.`;
    case 'tier_mismatch':
      return `somebody was faster, it is at round ${round}, tier ${tier} now.`;
    case 'proof_too_weak':
      return 'the policy takes no acknowledgement from Slack.';
    case 'after_hard_stop':
      return 'the escalation is given up before that.';
    case 'unknown_tier':
    case 'unknown_policy':
      return 'the policy has changed.';
  }
}

function tellState({ userId }: SlackPress, { isNews, escalation, acknowledgedBy }: Extract<PressResult, { kind: 'done' }>): string {
  const { status, acknowledgedAt, resolvedAt, dueAt, tier } = escalation;
  const presser = isNews ? ` by <@${userId}>` : '';
  switch (status) {
    case 'acknowledged':
      return `Acknowledged${acknowledgedBy === null ? presser : ` by ${escapeSlack(acknowledgedBy)}`}${at(acknowledgedAt)}`;
    case 'resolved':
      return `Resolved${presser}${at(resolvedAt)}`;
    case 'snoozed':
      return `Snoozed${presser}${dueAt === null ? '' : ` until ${slackTime(dueAt)}`}`;
    case 'triggered':
      return `Escalated${presser}: tier ${tier} is paged`;
    case 'exhausted':
      return `Escalated${presser}: nobody is left to page`;
  }
}

function at(time: string | null): string {
  return time === null ? '' : ` at ${slackTime(time)}`;
}

/** Shown in each reader's time zone. */
function slackTime(time: string): string {
  const ms = Date.parse(time);
  return `<!date^${Math.floor(ms / 1_000)}^{date_short_pretty} {time}|${new Date(ms).toISOString()}>`;
}

/** The message as it was, without the buttons that have had their day, and with the line that says how things stand. */
function withState(
  { message: { blocks }, actionId }: SlackPress,
  { escalation }: Extract<PressResult, { kind: 'done' }>,
  text: string,
): unknown[] {
  const isOver = (id: unknown) =>
    id === actionId || (escalation.status === 'resolved' && typeof id === 'string' && id.startsWith('tocsin_'));
  const kept = blocks.flatMap((block) => {
    if (block['block_id'] === stateBlockId) return [];
    const { elements } = block;
    if (block['type'] !== 'actions' || !Array.isArray(elements)) return [block];
    const left = (elements as Array<Record<string, unknown>>).filter(({ action_id: id }) => !isOver(id));
    return left.length === 0 ? [] : [{ ...block, elements: left }];
  });
  return [...kept, { type: 'context', block_id: stateBlockId, elements: [{ type: 'mrkdwn', text }] }];
}
