import type { Category } from './event-type.ts';
import type { Matcher } from './rule.ts';
import type { Severity } from './severity.ts';

/** Whom a tier, or the fallback, names. Schedules are resolved at each firing. */
export interface Target {
  kind: 'user' | 'schedule' | 'channel' | 'webhook';
  id: string;
}

export interface Tier {
  name: string | null;
  targets: readonly Target[];
  /** How long its pages may stay unanswered before the next tier fires. */
  timeoutMs: number;
  /** `open`, `closed`: only while the calendar says so; outside it the tier takes no time. */
  when: 'always' | 'open' | 'closed';
  /** For `when`; null: the policy's. */
  calendarId: string | null;
}

/** Which events open an escalation by themselves. Empty lists leave their kind open. */
export interface Trigger {
  types: readonly string[];
  categories: readonly Category[];
  projectIds: readonly string[];
  minSeverity: Severity;
  matchers: readonly Matcher[];
}

export const acknowledgementProofs = [
  'session',
  'api_key',
  'slack_signature',
  'link_token',
  'provider_signature',
  'provider_unsigned',
  'temporal_signal',
] as const;
/** How the acknowledging party was known. `temporal_signal`: the actor is only a claim. */
export type AcknowledgementProof = (typeof acknowledgementProofs)[number];

/** One version of a policy: an escalation keeps the one it began with. Ids are UUIDs, durations milliseconds. */
export interface EscalationPolicy {
  id: string;
  version: number;
  name: string;
  enabled: boolean;
  ownerUserId: string | null;
  /** Null: only rules name it. */
  trigger: Trigger | null;
  /** Keys as matchers have them, and `groupKey`: problems with the same values share an escalation. */
  groupBy: readonly string[];
  groupWaitMs: number;
  /** 1 to 10. */
  tiers: readonly Tier[];
  calendarId: string | null;
  /** While the calendar is closed, a firing of this severity or milder waits until it opens. */
  defer: { maxSeverity: Severity } | null;
  /** Rounds begin this far apart; `max` of them after the first, null: without end. */
  repeat: { everyMs: number; max: number | null } | null;
  acknowledgementTimeoutMs: number | null;
  acknowledgementReminder: boolean;
  cooldownMs: number;
  /** `full`: a resolve does not end the cooldown. */
  cooldownScope: 'full' | 'until_resolved';
  hardStopMs: number;
  /** Told once, at exhaustion. */
  fallback: readonly Target[];
  followUp: 'in_place' | 'all' | 'none';
  /** The last firing problem resolved ends the escalation. */
  autoResolve: boolean;
  /** The weakest acknowledgement taken: `no_unsigned` refuses provider_unsigned, `no_link` also link_token, `session` all but session. */
  minProof: 'any' | 'no_unsigned' | 'no_link' | 'session';
}
