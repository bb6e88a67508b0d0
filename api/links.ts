import { findLinkOrganization, isTokenOf, type LinkTokenRow, readLink, type StoredLink, useLinkToken } from '../db/queries/link-token.ts';
import { inOrganization } from '../db/tenant.ts';
import type { AuditDraft } from '../domain/audit/draft.ts';
import type { GroupStep } from '../domain/escalation-effect.ts';
import { auditedOutcome } from '../domain/escalation-refusal.ts';
import { parseLinkToken } from '../domain/link-token.ts';
import { readRawBody } from './body.ts';
import type { Dependencies } from './dependencies.ts';
import { commitChange } from './escalation-callback.ts';
import { type LinkPage, replyWithPage } from './link-layout.ts';
import { askPage, expiredPage, failurePage, refusedPage, settledPage } from './link-page.ts';
import { toProblem } from './problem.ts';
import { ipOf, parameterOf, type Route, type Visit } from './route.ts';

/** Tokens that fit no link, per address. One that fits always works: behind a proxy all people share an address. */
const badTokens = { most: 10, windowMs: 60_000 } as const;
const formRules = { limit: 4_096, mediaTypes: ['application/x-www-form-urlencoded'] };
const path = '/l/{token}';
/** An organization that does not exist. */
const nowhere = '00000000-0000-0000-0000-000000000000';

/**
 * Links in messages to one person, with which that person acknowledges without signing in. Following one changes nothing, however often mail
 * scanners and previews do it: what counts is the form on its page.
 */
export function linkRoutes(deps: Dependencies): Route[] {
  const tries = createTries();

  async function show({ request, exchange }: Visit): Promise<LinkPage> {
    const link = await findLink(deps, parameterOf(request, 'token'));
    if (link === undefined) return refuse(request, exchange.startedAt);
    if (isExpired(link, exchange.startedAt)) return expiredPage;
    return isOpen(link) ? askPage(link) : settledPage(link);
  }

  async function acknowledge(visit: Visit): Promise<LinkPage> {
    const { request, exchange } = visit;
    const body = await readRawBody(request, formRules);
    const link = await findLink(deps, parameterOf(request, 'token'));
    if (link === undefined) return refuse(request, exchange.startedAt);
    if (isExpired(link, exchange.startedAt)) return expiredPage;
    if (link.usedAt !== null) return settledPage(link);
    if (new URLSearchParams(body?.bytes.toString('utf8')).get('confirm') !== '1') return { ...askPage(link), status: 400 };
    const step = await useLink(deps, link, visit);
    const now = (await inOrganization(deps.orm, link.organizationId, async (em) => readLink(em, link.organizationId, link.id))) ?? link;
    if (step !== undefined && typeof step.outcome === 'object') return refusedPage(now);
    return settledPage(now, { isNews: step?.outcome === 'applied' });
  }

  function refuse(request: Visit['request'], now: Date): LinkPage {
    const waitSeconds = tries.note(ipOf(request) ?? '', now.getTime());
    if (waitSeconds === 0)
      return { status: 404, title: 'This link is not valid', lead: 'Check that you opened the whole link from the message.' };
    return {
      status: 429,
      title: 'Too many links that are not valid',
      lead: `Try again in ${waitSeconds} seconds.`,
      headers: { 'Retry-After': String(waitSeconds) },
    };
  }

  const answering = (work: (visit: Visit) => Promise<LinkPage>): Route['respond'] => {
    return async (visit) => {
      try {
        return replyWithPage(await work(visit));
      } catch (error) {
        const problem = toProblem(error, visit.exchange.requestId);
        visit.exchange.errorCode = problem.code;
        if (problem.status >= 500) visit.exchange.error = error;
        return replyWithPage(failurePage(problem));
      }
    };
  };

  return [
    { method: 'get', path, respond: answering(show) },
    { method: 'post', path, respond: answering(acknowledge) },
  ];
}

/** Undefined: malformed, unknown, forged, or of somebody who is no member any more. The last three cost the same, so nothing tells them apart. */
async function findLink({ orm, secrets }: Dependencies, token: string): Promise<StoredLink | undefined> {
  const presented = parseLinkToken(token);
  if (presented === undefined) return undefined;
  const organizationId = (await findLinkOrganization(orm.em.fork(), presented.id)) ?? nowhere;
  const link = await inOrganization(orm, organizationId, async (em) => readLink(em, organizationId, presented.id));
  const isGenuine = isTokenOf(link ?? { ...noLink, keyId: secrets.keyId }, presented, secrets);
  return link !== undefined && isGenuine && link.isHolderActive ? link : undefined;
}

const noLink: Omit<LinkTokenRow, 'keyId'> = {
  organizationId: nowhere,
  id: nowhere,
  escalationId: nowhere,
  firing: 1,
  userId: nowhere,
  action: 'acknowledge',
  expiresAt: 0,
};

/** The link was used while this request was under way. */
class LinkUsedError extends Error {}

/** Acknowledges and marks the link used, both or neither. A refused command leaves the link as it was. @returns undefined: used already */
async function useLink(deps: Dependencies, link: StoredLink, visit: Visit): Promise<GroupStep | undefined> {
  const { organizationId, escalationId, userId } = link;
  const at = visit.exchange.startedAt.getTime();
  try {
    const changed = await commitChange(
      deps,
      {
        organizationId,
        escalationId,
        at,
        mayClose: false,
        input: () => ({
          kind: 'command',
          escalationId,
          command: { name: 'acknowledge', extend: false },
          by: { userId, proof: 'link_token' },
        }),
        by: { actor: { type: 'user', id: userId }, proof: 'link_token' },
        audit: (step) => [auditUse(link, step, visit)],
      },
      async (em, { step }) => {
        if (typeof step?.outcome === 'object') return;
        if (!(await useLinkToken(em, organizationId, link.id, at))) throw new LinkUsedError();
      },
    );
    return changed?.step ?? undefined;
  } catch (error) {
    if (error instanceof LinkUsedError) return undefined;
    throw error;
  }
}

function auditUse(link: StoredLink, { outcome }: GroupStep, { request, exchange }: Visit): AuditDraft {
  const refused = typeof outcome === 'object' ? outcome.refused : undefined;
  return {
    orgId: link.organizationId,
    action: 'escalation.acknowledge',
    actor: { type: 'user', id: link.userId, email: link.holderEmail, name: link.holderName },
    occurredAt: exchange.startedAt,
    ...auditedOutcome(outcome),
    resource: { type: 'escalation', id: link.escalationId },
    projectId: link.projectId ?? undefined,
    http: { method: 'POST', route: path, status: refused === undefined ? 200 : 403 },
    ip: ipOf(request),
    userAgent: request.headers['user-agent']?.slice(0, 512),
    tool: 'other',
    correlation: { eventId: link.eventId, escalationId: link.escalationId, requestId: exchange.requestId },
    details: { path: 'link', proof: 'link_token', linkId: link.id, firing: link.firing, already: outcome === 'noop' },
  };
}

function isExpired({ expiresAt }: StoredLink, now: Date): boolean {
  return now.getTime() >= expiresAt;
}

/** Whether there is something to acknowledge, and this link can do it. */
function isOpen({ usedAt, status }: StoredLink): boolean {
  return usedAt === null && status !== 'acknowledged' && status !== 'resolved';
}

const addressesKept = 10_000;

/** Fixed windows per address. `note` counts a try and returns how many seconds to wait; 0: this one was among those allowed. */
function createTries(): { note(address: string, nowMs: number): number } {
  const windows = new Map<string, { since: number; count: number }>();
  return {
    note(address, nowMs) {
      let window = windows.get(address);
      if (window === undefined || nowMs - window.since >= badTokens.windowMs) {
        if (windows.size >= addressesKept) windows.clear();
        window = { since: nowMs, count: 0 };
        windows.set(address, window);
      }
      window.count += 1;
      return window.count <= badTokens.most ? 0 : Math.ceil((window.since + badTokens.windowMs - nowMs) / 1_000);
    },
  };
}
