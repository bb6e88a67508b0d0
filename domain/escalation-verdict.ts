import type { GroupStep } from './escalation-effect.ts';

/** What became of an event that an escalation policy got. */
export interface EscalationVerdict {
  verdict: 'escalate' | 'suppress';
  reason: 'policy_match' | 'silenced' | 'cooldown' | 'snoozed' | 'grouped';
}

/** Read from the step that its member (`key`) made. */
export function verdictOf({ state, effects }: GroupStep, key: string): EscalationVerdict {
  if (effects.some(({ kind }) => kind === 'opened')) return { verdict: 'escalate', reason: 'policy_match' };
  if (state.held.some((held) => held.key === key)) return { verdict: 'suppress', reason: 'silenced' };
  if (effects.some((effect) => effect.kind === 'timeline' && effect.what === 'restarted'))
    return { verdict: 'escalate', reason: 'policy_match' };
  const attached = state.members.find((member) => member.key === key)?.attached;
  return { verdict: 'suppress', reason: attached === 'cooldown' || attached === 'snoozed' ? attached : 'grouped' };
}
