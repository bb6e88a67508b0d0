import type { MikroORM } from '@mikro-orm/postgresql';
import { type ChangedEscalationState, commitEscalationChange, type EscalationChange } from '../db/escalation-change.ts';
import type { FeedSignal } from '../db/feed-signal.ts';
import { findCommandAnswer, findDue, keepCommandAnswer, viewEscalation } from '../db/queries/escalation-view.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import { inOrganization } from '../db/tenant.ts';
import type { AuditDraft } from '../domain/audit/draft.ts';
import type { GroupStep } from '../domain/escalation-effect.ts';
import { auditedOutcome } from '../domain/escalation-refusal.ts';
import type { GroupState } from '../domain/escalation-state.ts';
import { parseWireId } from '../domain/id.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';
import type { RunStarter } from '../temporal/run-starter.ts';
import { describeEscalation } from './escalation-details.ts';
import {
  type EscalationCommand,
  type EscalationCommandAnswer,
  type EscalationInput,
  type EscalationStep,
  workflowIds,
} from '../workflows/messages.ts';

export interface EscalationDependencies {
  orm: MikroORM;
  facts: FactsCache;
  starter: Pick<RunStarter, 'offer'>;
  escalations: Pick<EscalationStarter, 'wake'>;
  /** Default: readers find out by themselves, within seconds. */
  feeds?: Pick<FeedSignal, 'changed'>;
  /** Of Temporal. */
  namespace: string;
}

export function createEscalationActivities(deps: EscalationDependencies) {
  /** Does what is due, if anything is, and says what to wait for. May be repeated at any point: a plan that is past changes nothing. */
  async function stepEscalation({ organizationId, escalationId }: EscalationInput): Promise<EscalationStep> {
    const at = Date.now();
    const due = await inOrganization(deps.orm, organizationId, async (em) => findDue(em, organizationId, escalationId, at));
    // Most looks find nothing due, and must not queue for the locks of those who are at work on the group.
    if (due !== undefined)
      await change(deps, {
        organizationId,
        escalationId,
        at,
        mayClose: due.why === 'hard_stop',
        // What was due then; what has come of the group since is in the row that is read next.
        input: (state) => (state.escalation?.id === escalationId ? { kind: 'due', version: due.version } : null),
      });
    const row = await inOrganization(deps.orm, organizationId, async (em) => viewEscalation(em, organizationId, escalationId));
    if (row === undefined) return { kind: 'ended', state: 'resolved' };
    if (row.status === 'resolved' && row.dueAt === null) return { kind: 'ended', state: 'resolved' };
    return { kind: 'wait', ms: row.dueAt === null ? null : Date.parse(row.dueAt) - Date.now(), ...describeEscalation(row, deps.namespace) };
  }

  /** A command that came through Temporal: whoever sent it could sign in there, and says who it is. */
  async function commandEscalation(request: EscalationInput & EscalationCommand): Promise<EscalationCommandAnswer> {
    const { organizationId, escalationId, requestId, command, actor } = request;
    const at = Date.now();
    const known = await inOrganization(deps.orm, organizationId, async (em) =>
      findCommandAnswer<EscalationCommandAnswer>(em, organizationId, escalationId, requestId),
    );
    if (known !== undefined) return known;
    const userId = parseActor(actor);
    const changed = await change(
      deps,
      {
        organizationId,
        escalationId,
        at,
        mayClose: command === 'resolve',
        input: () => ({
          kind: 'command',
          escalationId,
          command: command === 'acknowledge' ? { name: 'acknowledge', extend: false } : { name: 'resolve' },
          by: { userId, proof: 'temporal_signal' },
        }),
        by: { actor: { type: 'user', id: actor }, proof: 'temporal_signal' },
        audit: (step) => [auditCommand(request, step)],
      },
      async (em, { step, state }) => {
        const answer = answerOf(step!, state, escalationId);
        await keepCommandAnswer(em, { organizationId, escalationId, requestId, answer, at });
      },
    );
    return changed === undefined || changed.step === null ? { refused: 'not_found' } : answerOf(changed.step, changed.state, escalationId);
  }

  return { stepEscalation, commandEscalation };
}

/** Changes the escalation, then tells whoever has to know; its own workflow is the one that asked. */
async function change(
  deps: EscalationDependencies,
  wanted: EscalationChange,
  also?: Parameters<typeof commitEscalationChange>[2],
): Promise<ChangedEscalationState | undefined> {
  const changed = await commitEscalationChange(deps, wanted, also);
  if (changed !== undefined) {
    deps.starter.offer(changed.outcome.deliveries);
    deps.escalations.wake(changed.outcome.changed.filter(({ escalationId }) => escalationId !== wanted.escalationId));
    deps.feeds?.changed(wanted.organizationId);
  }
  return changed;
}

function answerOf({ outcome }: GroupStep, { escalation, version }: GroupState, escalationId: string): EscalationCommandAnswer {
  if (typeof outcome === 'object') return { refused: outcome.refused };
  const state = escalation?.id === escalationId ? escalation.phase.status : 'resolved';
  return { state, version, already: outcome === 'noop' };
}

/** A user's id where the sender gave one; else its word is kept as it is. */
function parseActor(actor: string): string | null {
  const parsed = parseWireId(actor);
  return parsed?.kind === 'user' ? parsed.uuid : null;
}

function auditCommand(
  { organizationId, escalationId, command, actor, note, requestId }: EscalationInput & EscalationCommand,
  { outcome }: GroupStep,
): AuditDraft {
  return {
    orgId: organizationId,
    action: `escalation.${command}`,
    actor: { type: 'workflow', id: workflowIds.escalation(escalationId), onBehalfOf: actor.slice(0, 128) },
    tool: 'workflow',
    ...auditedOutcome(outcome),
    resource: { type: 'escalation', id: escalationId },
    correlation: { escalationId, workflowId: workflowIds.escalation(escalationId) },
    details: {
      path: 'temporal',
      proof: 'temporal_signal',
      requestId,
      already: outcome === 'noop',
      ...(note === undefined ? {} : { note }),
    },
  };
}
