import type { EscalationStatus } from '../domain/escalation-state.ts';
import type { EscalationPart } from '../domain/message.ts';
import { type SlackActionId, slackBlockId } from '../domain/slack-interaction.ts';

const labels: Readonly<Record<SlackActionId, string>> = {
  tocsin_ack: 'Acknowledge',
  tocsin_resolve: 'Resolve',
  tocsin_snooze_1h: 'Snooze 1 hour',
  tocsin_escalate: 'Escalate',
};

/** What there is to do in each state. */
const offered: Readonly<Record<EscalationStatus, readonly SlackActionId[]>> = {
  triggered: ['tocsin_ack', 'tocsin_resolve', 'tocsin_snooze_1h', 'tocsin_escalate'],
  acknowledged: ['tocsin_resolve', 'tocsin_snooze_1h', 'tocsin_escalate'],
  snoozed: ['tocsin_ack', 'tocsin_resolve', 'tocsin_escalate'],
  exhausted: ['tocsin_ack', 'tocsin_resolve', 'tocsin_escalate'],
  resolved: [],
};

/** The buttons below an escalation's message; none where nobody would answer them. */
export function renderButtons({ id, round, tier, state, takesPresses }: EscalationPart, deliveryId: string): object[] {
  const actions = offered[state];
  if (!takesPresses || actions.length === 0) return [];
  const elements = actions.map((action) => ({
    type: 'button',
    action_id: action,
    text: { type: 'plain_text', text: labels[action], emoji: false },
    // two presses from the same place advance one tier
    value: action === 'tocsin_escalate' ? `${id}.${round}.${tier}` : id,
    ...(action === 'tocsin_ack' ? { style: 'primary' } : {}),
  }));
  return [{ type: 'actions', block_id: slackBlockId(deliveryId), elements }];
}
