import { createHmac, timingSafeEqual } from 'node:crypto';
import type { GroupCommand } from './escalation-input.ts';
import { sha256Hex } from './hash.ts';
import { fromWireId, toWireId } from './id.ts';

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
  /** UUID of the delivery that the message is; null: it is none of ours, or of an older form. */
  deliveryId: string | null;
  /** The message with the button. */
  message: SlackMessage;
}

/** A message as far as its edit has to repeat it. */
export interface SlackMessage {
  text: string | null;
  /** Empty: Slack did not say. */
  blocks: ReadonlyArray<Readonly<Record<string, unknown>>>;
  /** What the blocks are in, as an incoming webhook posts them; null: they are the message's own. */
  attachment: { color?: string; fallback?: string } | null;
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
  const deliveryId = readBlockId(text(action['block_id']));
  const message = readMessage(members(root['message']) ?? {});
  return { teamId, userId, actionId, ...value, messageTs, actionTs, responseUrl: text(root['response_url']) ?? null, deliveryId, message };
}

const blockIdPrefix = 'tocsin_';

/** The id of the block with the buttons: it says which delivery (a UUID) the message is, for an incoming webhook learns no id of Slack's. */
export function slackBlockId(deliveryId: string): string {
  return blockIdPrefix + toWireId('delivery', deliveryId);
}

function readBlockId(blockId: string | undefined): string | null {
  return blockId?.startsWith(blockIdPrefix) === true ? (fromWireId('delivery', blockId.slice(blockIdPrefix.length)) ?? null) : null;
}

function readMessage({ text: shown, blocks, attachments }: Record<string, unknown>): SlackMessage {
  const own = { text: text(shown) ?? null, blocks: listOf(blocks), attachment: null };
  const attachment = listOf(attachments).find(({ blocks: inner }) => listOf(inner).length > 0);
  if (own.blocks.length > 0 || attachment === undefined) return own;
  const [color, fallback] = [text(attachment['color']), text(attachment['fallback'])];
  return {
    ...own,
    blocks: listOf(attachment['blocks']),
    attachment: { ...(color === undefined ? {} : { color }), ...(fallback === undefined ? {} : { fallback }) },
  };
}

function listOf(value: unknown): Array<Record<string, unknown>> {
  return Array.isArray(value) ? value.map(members).filter((one) => one !== undefined) : [];
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
