import type { UpdateChange } from './escalation-effect.ts';
import type { EscalationStatus, ResolveReason, RestartReason } from './escalation-state.ts';

/** What a message says that tells of no page: kept with the message, so that every attempt says the same. Plain JSON. */
export type EscalationNews =
  | {
      kind: 'change';
      change: UpdateChange;
      reason: RestartReason | ResolveReason | null;
      /** Who did it; null: nobody, or nobody who can be named. An id that is none of ours is what its sender claimed. */
      by: { type: 'user' | 'service_account'; id: string } | null;
      round: number;
      tier: number;
    }
  /** The acknowledgement ends by itself then (Unix ms). */
  | { kind: 'reminder'; timeoutAt: number; round: number; tier: number };

/** The state that the news leave the escalation in. */
export function stateAfter(news: EscalationNews): EscalationStatus {
  if (news.kind === 'reminder') return 'acknowledged';
  return news.change === 'restarted' ? 'triggered' : news.change;
}

/** One sentence for the reader of a message. `name` is whose doing it is, where that is known. */
export function describeNews(news: EscalationNews, name: string | null): string {
  if (news.kind === 'reminder')
    return `Your acknowledgement runs out at ${new Date(news.timeoutAt).toISOString()}: resolve it, or acknowledge again for more time`;
  const by = name === null ? '' : ` by ${name}`;
  switch (news.change) {
    case 'acknowledged':
      return `Acknowledged${by}: nobody else is paged`;
    case 'resolved':
      return news.reason === 'members_resolved' ? 'Resolved: nothing is wrong any more' : `Resolved${by}`;
    case 'exhausted':
      return 'Nobody has acknowledged, and everybody has been paged';
    case 'restarted':
      return `${whyRestarted(news.reason, by)}: people are paged again`;
  }
}

function whyRestarted(reason: RestartReason | ResolveReason | null, by: string): string {
  switch (reason) {
    case 'manual':
    case 'provider':
      return `The acknowledgement was taken back${by}`;
    case 'ack_timeout':
      return 'The acknowledgement has run out';
    case 'snooze_end':
      return 'The snooze is over';
    case 'severity_raised':
      return 'It has become worse';
    case 'new_after_cooldown':
    case 'new_problem':
    case 'unmuted':
      return 'More is wrong';
    case 'escalate':
      return `Escalated${by}`;
    case 'reassign':
      return `Handed over${by}`;
    default:
      return 'It begins again';
  }
}
