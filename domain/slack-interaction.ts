import { createHmac, timingSafeEqual } from 'node:crypto';
import type { GroupCommand } from './escalation-input.ts';
import { sha256Hex } from './hash.ts';
import { fromWireId } from './id.ts';

/** A button that somebody pressed in Slack, as Slack tells of it. */
export interface SlackPress {
  teamId: string;
  userId: string;
  actionId: SlackActionId;
  /** UUID. */
  escalationId: string;
  /** Where the escalation was when the button was shown; only `tocsin_escalate` has it. */
  position: { round: number; tier: number } | null;
  messageTs: string;
  actionTs: string;
  /** Where the answer to the presser goes; null: Slack gave none. */
  responseUrl: string | null;
  /** Of the message with the button; empty: Slack did not say. */
  blocks: ReadonlyArray<Readonly<Record<string, unknown>>>;
}

export const slackActionIds = ['tocsin_ack', 'tocsin_resolve', 'tocsin_snooze_1h', 'tocsin_escalate'] as const;
export type SlackActionId = (typeof slackActionIds)[number];

/** How far Slack's clock and ours may be apart: what is older may be a recording. */
const maxSkewSeconds = 300;
const hourMs = 60 * 60 * 1_000;

export interface SlackSignature {
  /** `X-Slack-Request-Timestamp`, Unix seconds. */
  timestamp: string | undefined;
  /** `X-Slack-Signature`. */
  signature: string | undefined;
}

/**
 * Whether Slack signed exactly this body lately: `v0=` + hex HMAC-SHA256(signing secret, "v0:<timestamp>:<body>")
 * (https://docs.slack.dev/authentication/verifying-requests-from-slack).
 */
export function isSignedBySlack(signingSecret: string, body: Uint8Array, { timestamp, signature }: SlackSignature, nowMs: number): boolean {
  if (timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) return false;
  if (signature === undefined || !/^v0=[0-9a-f]{64}$/.test(signature)) return false;
  if (Math.abs(Math.floor(nowMs / 1_000) - Number(timestamp)) > maxSkewSeconds) return false;
  const expected = createHmac('sha256', signingSecret).update(`v0:${timestamp}:`).update(body).digest();
  return timingSafeEqual(expected, Buffer.from(signature.slice('v0='.length), 'hex'));
}

/**
 * Reads the form field `payload` of an interaction.
 * @returns `ignored`: a genuine interaction that asks nothing of an escalation (a link that was followed, another app's button)
 */
export function readSlackPress(payload: unknown): SlackPress | 'ignored' | 'malformed' {
  const root = members(payload);
  if (root === undefined) return 'malformed';
  const teamId = text(members(root['team'])?.['id']);
  const userId = text(members(root['user'])?.['id']);
  if (root['type'] !== 'block_actions') return 'ignored';
  const actions = root['actions'];
  const action = members(Array.isArray(actions) ? (actions as unknown[])[0] : undefined);
  const actionId = slackActionIds.find((id) => id === action?.['action_id']);
  if (action === undefined || actionId === undefined) return 'ignored';
  const messageTs = text(members(root['container'])?.['message_ts']);
  const actionTs = text(action['action_ts']);
  const value = readValue(actionId, text(action['value']) ?? '');
  if (teamId === undefined || userId === undefined || messageTs === undefined || actionTs === undefined || value === undefined)
    return 'malformed';
  const shown = members(root['message'])?.['blocks'];
  const blocks = Array.isArray(shown) ? shown.map(members).filter((block) => block !== undefined) : [];
  return { teamId, userId, actionId, ...value, messageTs, actionTs, responseUrl: text(root['response_url']) ?? null, blocks };
}

/** The id of the escalation; for escalating `<id>.<round>.<tier>`. */
function readValue(actionId: SlackActionId, value: string): Pick<SlackPress, 'escalationId' | 'position'> | undefined {
  const [id = '', round, tier, ...rest] = value.split('.');
  const escalationId = fromWireId('escalation', id);
  if (escalationId === undefined || rest.length > 0) return undefined;
  if (actionId !== 'tocsin_escalate') return round === undefined ? { escalationId, position: null } : undefined;
  if (!isCount(round) || !isCount(tier)) return undefined;
  return { escalationId, position: { round: Number(round), tier: Number(tier) } };
}

/** The same press gets the same id however often Slack tells of it. */
export function slackRequestId({ teamId, userId, actionId, messageTs, actionTs }: SlackPress): string {
  return `slack:${sha256Hex([teamId, userId, actionId, messageTs, actionTs].join('\n'))}`;
}

export function slackCommand({ actionId, position }: SlackPress, at: number): GroupCommand {
  switch (actionId) {
    case 'tocsin_ack':
      return { name: 'acknowledge', extend: false };
    case 'tocsin_resolve':
      return { name: 'resolve' };
    case 'tocsin_snooze_1h':
      return { name: 'snooze', until: at + hourMs };
    case 'tocsin_escalate':
      return { name: 'escalate', expected: position!, toTier: null };
  }
}

function isCount(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,6}$/.test(text);
}

function members(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= 2_048 ? value : undefined;
}
