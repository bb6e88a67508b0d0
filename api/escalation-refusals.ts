import { appendAudit } from '../db/audit-log.ts';
import type { EscalationRow } from '../db/queries/escalation-list.ts';
import { insertTimeline } from '../db/queries/escalation.ts';
import { inOrganization } from '../db/tenant.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import type { RefusalCode } from '../domain/escalation-effect.ts';
import type { GroupCommand } from '../domain/escalation-input.ts';
import type { AcknowledgementProof } from '../domain/escalation-policy.ts';
import { refusalStatus } from '../domain/escalation-refusal.ts';
import type { AuditPart } from './audit-trail.ts';
import type { RequestContext } from './endpoint.ts';
import { problems } from './problem.ts';

/** A command that the escalation did not take. */
export interface RefusedCommand {
  readonly code: RefusalCode;
  readonly command: GroupCommand;
  readonly proof: AcknowledgementProof;
  /** As it is. */
  readonly escalation: EscalationRow;
  /** Of the step, Unix milliseconds. */
  readonly at: number;
  /** What the audit entry says of the command besides. */
  readonly part: AuditPart;
}

/** What the caller is answered. */
export function refuse({ code, command, escalation: { status, round, tier } }: RefusedCommand): DomainError {
  switch (code) {
    case 'wrong_state':
      return new DomainError('wrong_state', `Not possible: the escalation is ${status}.`);
    case 'tier_mismatch':
      return new DomainError('tier_mismatch', `The escalation is at round ${round}, tier ${tier}.`);
    case 'proof_too_weak':
      return new DomainError('proof_too_weak', 'The policy takes no acknowledgement that is known by an API key alone.');
    case 'unknown_tier':
      return validationFailed([{ pointer: '/toTier', code, detail: 'is no tier of the policy' }]);
    case 'unknown_policy':
      return command.name === 'rebase'
        ? validationFailed([{ pointer: '/policyVersion', code: 'unknown_version', detail: 'is no version of the policy' }])
        : validationFailed([{ pointer: '/policyId', code, detail: 'is no escalation policy of this organization' }]);
    case 'after_hard_stop':
      return validationFailed([{ pointer: '', code, detail: 'must end before the escalation is given up' }]);
  }
}

/**
 * Notes the refusal where people look for it, in a transaction of its own: the command's is rolled back by then. The timeline has every one;
 * of a request that was merely not valid the audit log has none, as of any other.
 * @returns ids (UUIDs) of the audit entries
 */
export async function noteRefusal(
  { deps, principal, trail }: Pick<RequestContext, 'deps' | 'principal' | 'trail'>,
  refused: RefusedCommand,
): Promise<readonly string[]> {
  const { code, proof, escalation, at, part } = refused;
  const { organizationId, type, id } = principal;
  const { status: httpStatus } = problems[refuse(refused).code];
  const isInvalid = httpStatus === problems.validation_failed.status;
  return inOrganization(deps.orm, organizationId, async (em) => {
    const entry = trail.complete({ ...part, status: refusalStatus(code), reason: code }, httpStatus);
    const entryIds = isInvalid ? [] : await appendAudit(em, [entry]);
    const { id: escalationId, status, round, tier } = escalation;
    const line = { what: 'refused', escalationId, at, status, round, tier, firing: escalation.firing, reason: code, key: null } as const;
    const by = { actor: { type, id }, proof, auditEntryId: entryIds[0] ?? null };
    await insertTimeline(organizationId, [{ ...line, ...by }]).execute(em.getKysely());
    return entryIds;
  });
}
