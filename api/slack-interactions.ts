import { appendAudit } from '../db/audit-log.ts';
import { DeliveryEntity } from '../db/entities/delivery.ts';
import { IntegrationEntity, type IntegrationRow } from '../db/entities/integration.ts';
import { type Member, MemberEntity } from '../db/entities/member.ts';
import { databaseFacts } from '../db/failure.ts';
import { openIntegrationSecrets } from '../db/integration-secrets.ts';
import { type EscalationRow, findEscalation, wasPaged } from '../db/queries/escalation-list.ts';
import { findCommandAnswer, keepCommandAnswer } from '../db/queries/escalation-view.ts';
import { inOrganization } from '../db/tenant.ts';
import type { AuditDraft } from '../domain/audit/draft.ts';
import { DomainError } from '../domain/errors.ts';
import type { Outcome, RefusalCode } from '../domain/escalation-effect.ts';
import { auditedOutcome } from '../domain/escalation-refusal.ts';
import { fromWireId } from '../domain/id.ts';
import { rolePermissions } from '../domain/permission.ts';
import { isSignedBySlack, readSlackPress, slackCommand, type SlackPress, slackRequestId } from '../domain/slack-interaction.ts';
import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { readRawBody } from './body.ts';
import type { Dependencies } from './dependencies.ts';
import { basePath } from './endpoint.ts';
import { commitChange } from './escalation-callback.ts';
import { ipOf, parameterOf, type Route, type Visit } from './route.ts';
import type { Reply } from './serve.ts';
import { answerPress, type PressResult, sendSlackAnswer } from './slack-answers.ts';

const path = `${basePath}/integrations/slack/{id}/interactions`;
const bodyRules = { limit: 256 * 1_024, mediaTypes: ['application/x-www-form-urlencoded'] };
/** Slack shows the presser a failure when it gets anything else, or gets it after three seconds. */
const taken: Reply = { status: 200, headers: {}, body: '' };

/** Where Slack tells that somebody pressed a button below an escalation's message. */
export function slackRoutes(deps: Dependencies): Route[] {
  return [
    {
      method: 'post',
      path,
      respond: async (visit) => {
        const { integration, payload } = await readSigned(deps, visit);
        const press = readSlackPress(payload);
        if (press === 'malformed') throw new DomainError('malformed_request', 'The payload is not a Slack interaction.');
        if (press === 'ignored') return taken;
        if (press.teamId !== integration.settings.teamId)
          throw new DomainError('permission_denied', "The call is of another workspace than the integration's.");
        const answer = answerPress(press, await obey(deps, integration, press, visit));
        const { responseUrl } = press;
        if (answer !== null && responseUrl !== null)
          visit.background.run('slack.answer', async () => sendSlackAnswer(deps, responseUrl, answer));
        return taken;
      },
    },
  ];
}

/** The integration that is called and what it is told. Throws `unauthenticated` for an unknown one just as for a signature that is not its own. */
async function readSigned(deps: Dependencies, { request, exchange }: Visit): Promise<{ integration: IntegrationRow; payload: unknown }> {
  const body = await readRawBody(request, bodyRules);
  const integration = await findIntegration(deps, fromWireId('integration', parameterOf(request, 'id')));
  const signingSecret = integration && openIntegrationSecrets(integration, deps.secrets)['signingSecret'];
  const headers = {
    timestamp: request.get('x-slack-request-timestamp'),
    signature: request.get('x-slack-signature'),
  };
  if (
    integration === undefined ||
    signingSecret === undefined ||
    body === undefined ||
    !isSignedBySlack(signingSecret, body.bytes, headers, exchange.startedAt.getTime())
  )
    throw new DomainError('unauthenticated', 'The call is not signed by the Slack app of an active integration, or is too old.');
  return { integration, payload: parsePayload(body.bytes) };
}

async function findIntegration({ orm }: Dependencies, id: string | undefined): Promise<IntegrationRow | undefined> {
  if (id === undefined) return undefined;
  const query = sql<{ found: string | null }>`select integration_organization(${id}) as found`;
  const organizationId = (await query.execute(orm.em.fork().getKysely())).rows[0]?.found;
  if (!organizationId) return undefined;
  const row = await inOrganization(orm, organizationId, async (em) =>
    em.findOne(IntegrationEntity, { orgId: organizationId, id, type: 'slack', active: true, deletedAt: null }),
  );
  return row ?? undefined;
}

function parsePayload(body: Buffer): unknown {
  try {
    return JSON.parse(new URLSearchParams(body.toString('utf8')).get('payload') ?? '');
  } catch (cause) {
    throw new DomainError('malformed_request', 'The form field payload is not JSON.', { cause });
  }
}

interface Pressed {
  press: SlackPress;
  integration: IntegrationRow;
  visit: Visit;
}

async function obey(deps: Dependencies, integration: IntegrationRow, press: SlackPress, visit: Visit): Promise<PressResult> {
  const pressed: Pressed = { press, integration, visit };
  const admitted = await inOrganization(deps.orm, integration.orgId, async (em) => admit(em, pressed));
  if ('kind' in admitted) return admitted;
  try {
    return await carryOut(deps, pressed, admitted);
  } catch (error) {
    // the same press at the same time: the other one did it
    if (databaseFacts(error).constraint === 'escalation_command_pkey') return { kind: 'repeated' };
    throw error;
  }
}

interface Admitted {
  /** Who pressed. */
  member: Member;
  /** As it was when it was looked at. */
  escalation: EscalationRow;
  /** UUID of the channel that the message is in; undefined: not known. */
  originId: string | undefined;
}

/** What a press that counts needs, unless there is nothing to do or the presser may not do it; the latter is audited. */
async function admit(em: EntityManager, pressed: Pressed): Promise<Admitted | PressResult> {
  const { press, integration } = pressed;
  const { orgId: organizationId, userLinks } = integration;
  const escalation = await findEscalation(em, organizationId, press.escalationId);
  if (escalation === undefined) return { kind: 'unknown' };
  const known = await findCommandAnswer(em, organizationId, escalation.id, slackRequestId(press));
  if (known !== undefined) return { kind: 'repeated' };
  const userId = Object.hasOwn(userLinks, press.userId) ? userLinks[press.userId] : undefined;
  const member = userId === undefined ? null : await em.findOne(MemberEntity, { id: userId, status: 'active', removedAt: null });
  if (member !== null && (await mayCommand(em, member, escalation))) {
    const message = press.deliveryId === null ? null : await em.findOne(DeliveryEntity, { orgId: organizationId, id: press.deliveryId });
    return { member, escalation, originId: message?.destinationId ?? integration.settings.channelId ?? undefined };
  }
  const reason = member === null ? 'unlinked' : 'not_allowed';
  await appendAudit(em, [auditPress(pressed, { reason, member, escalation })]);
  return { kind: reason };
}

async function mayCommand(em: EntityManager, { orgId, id: userId, role }: Member, { id, openedAt }: EscalationRow): Promise<boolean> {
  if (rolePermissions[role].includes('escalations.acknowledge')) return true;
  return wasPaged(em, orgId, { escalationId: id, openedAt, userId });
}

async function carryOut(deps: Dependencies, pressed: Pressed, { member, escalation: before, originId }: Admitted): Promise<PressResult> {
  const { press, integration, visit } = pressed;
  const requestId = slackRequestId(press);
  const { orgId: organizationId } = integration;
  const { escalationId } = press;
  const at = visit.exchange.startedAt.getTime();
  const command = slackCommand(press, at);
  let result: PressResult = { kind: 'unknown' };
  await commitChange(
    deps,
    {
      organizationId,
      escalationId,
      at,
      mayClose: command.name === 'resolve',
      input: () => ({ kind: 'command', escalationId, command, by: { userId: member.id, proof: 'slack_signature' } }),
      by: { actor: { type: 'user', id: member.id }, proof: 'slack_signature', originId },
      audit: ({ outcome }) => [auditPress(pressed, { reason: undefined, member, escalation: before, outcome })],
    },
    async (em, { step, state }) => {
      const escalation = (await findEscalation(em, organizationId, escalationId))!;
      const { outcome } = step!;
      const refused = refusalOf(outcome);
      const answer =
        refused === undefined ? { state: escalation.status, version: state.version, already: outcome === 'noop' } : { refused };
      await keepCommandAnswer(em, { organizationId, escalationId, requestId, answer, at });
      if (refused !== undefined) result = { kind: 'refused', code: refused, escalation };
      else
        result = {
          kind: 'done',
          isNews: outcome === 'applied',
          escalation,
          acknowledgedBy: await nameAcknowledger(em, escalation, member),
        };
    },
  );
  return result;
}

function refusalOf(outcome: Outcome): RefusalCode | undefined {
  return typeof outcome === 'object' ? outcome.refused : undefined;
}

/** Null: nobody, the presser, or one who cannot be named. */
async function nameAcknowledger(em: EntityManager, { acknowledgedBy }: EscalationRow, presser: Member): Promise<string | null> {
  if (acknowledgedBy?.type !== 'user' || acknowledgedBy.id === presser.id) return null;
  return (await em.findOne(MemberEntity, { id: acknowledgedBy.id }))?.name ?? null;
}

interface PressFacts {
  /** Why the presser may not give commands; undefined: they may. */
  reason: string | undefined;
  member: Member | null;
  escalation: EscalationRow;
  outcome?: Outcome;
}

function auditPress(
  { press, integration, visit: { request, exchange } }: Pressed,
  { reason, member, escalation, outcome }: PressFacts,
): AuditDraft {
  const { name } = slackCommand(press, exchange.startedAt.getTime());
  const slackUser = `slack:${press.teamId}:${press.userId}`;
  return {
    orgId: integration.orgId,
    action: `escalation.${name}`,
    // nobody here stands for someone who is not linked
    actor: member === null ? { type: 'system', id: 'system', subsystem: 'slack', onBehalfOf: slackUser } : personOf(member),
    occurredAt: exchange.startedAt,
    ...(reason === undefined ? auditedOutcome(outcome ?? 'applied') : { status: 'blocked', reason }),
    resource: { type: 'escalation', id: escalation.id },
    targets: [{ type: 'integration', id: integration.id, name: integration.name }],
    projectId: escalation.projectId ?? undefined,
    http: { method: 'POST', route: path, status: taken.status },
    ip: ipOf(request),
    userAgent: request.headers['user-agent']?.slice(0, 512),
    tool: 'webhook',
    correlation: { eventId: escalation.eventId, escalationId: escalation.id, requestId: exchange.requestId },
    details: { path: 'slack', proof: 'slack_signature', slackUser, requestId: slackRequestId(press), already: outcome === 'noop' },
  };
}

function personOf({ id, email, name }: Member): AuditDraft['actor'] {
  return { type: 'user', id, email, name };
}
