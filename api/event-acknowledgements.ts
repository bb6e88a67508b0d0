import type { AuditDraft } from '../domain/audit/entry.ts';
import { DomainError } from '../domain/errors.ts';
import { auditedOutcome } from '../domain/escalation-refusal.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';
import type { Acknowledgement, IntakeAuthor } from './intake-escalations.ts';
import type { DraftEvent } from './intake-work.ts';

/** Acknowledging by event: `alert.acknowledged`, and types of an organization's own that do the same. */

/** Every request is known by its API key. */
export function authorOf({ type, id }: Principal): IntakeAuthor {
  return { actor: { type, id }, proof: 'api_key' };
}

/** Why the event is not taken from this caller; undefined: it is. Who may post events may not by that silence pagers. */
export function refusalOf({ effect }: DraftEvent, { permissions }: Principal): DomainError | undefined {
  if (effect !== 'acknowledge' || permissions.has('escalations.acknowledge')) return undefined;
  return new DomainError('permission_denied', 'An event that acknowledges needs the permission escalations.acknowledge.');
}

/** The entry of one escalation, which its event's correlation names; also of one that was acknowledged before, or whose policy refuses. */
export function auditAcknowledgement({ event, by, escalationId, outcome, state }: Acknowledgement, trail: AuditTrail): AuditDraft {
  const { escalation, version } = state;
  return trail.complete(
    {
      action: 'escalation.acknowledge',
      ...auditedOutcome(outcome),
      resource: { type: 'escalation', id: escalationId },
      projectId: event.projectId ?? undefined,
      correlation: { eventId: event.id, escalationId },
      details: {
        path: 'event',
        proof: by.proof,
        already: outcome === 'noop',
        result: { state: escalation?.phase.status, version, round: escalation?.round, tier: escalation?.tier },
      },
    },
    202,
  );
}
