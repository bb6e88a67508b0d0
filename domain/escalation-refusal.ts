import type { Outcome, RefusalCode } from './escalation-effect.ts';

/** What an audit entry says of a refused command: the policy does not take it from this author, or it does not go with what is. */
export function refusalStatus(code: RefusalCode): 'blocked' | 'failure' {
  switch (code) {
    case 'proof_too_weak':
      return 'blocked';
    case 'wrong_state':
    case 'tier_mismatch':
    case 'unknown_tier':
    case 'unknown_policy':
    case 'after_hard_stop':
      return 'failure';
  }
}

/** Status and reason of the audit entry of a command that came to `outcome`. */
export function auditedOutcome(outcome: Outcome): {
  status: 'success' | 'blocked' | 'failure';
  reason: RefusalCode | undefined;
} {
  if (typeof outcome !== 'object') return { status: 'success', reason: undefined };
  return { status: refusalStatus(outcome.refused), reason: outcome.refused };
}
