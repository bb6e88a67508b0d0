import { createAuditTrail } from '../../api/audit-trail.ts';
import type { Principal } from '../../api/authorization.ts';
import { eventMaker, prepareEvent } from '../../api/event-drafts.ts';
import type { IntakeOutcome } from '../../api/intake-work.ts';
import { tickNoticeGroup } from '../../db/notice-tick.ts';
import { stepSilence } from '../../db/silence-step.ts';
import { inOrganization } from '../../db/tenant.ts';
import type { Decision } from '../../domain/routing.ts';
import { fromWireId } from '../../domain/id.ts';
import { permissions } from '../../domain/permission.ts';
import type { TestApi, TestOrganization } from '../api/start-api.ts';

/** One line a notice: `+30s first: A, B; resolved: C`. */
export type NoticeLine = string;

/** An organization whose clock is the test's: events are accepted and ticks run when it says. */
export function createNoticeStage(api: TestApi, organization: TestOrganization, startAt: number) {
  const principal: Principal = {
    organizationId: organization.id,
    type: 'user',
    id: organization.ownerId,
    name: 'owner',
    email: undefined,
    creatorId: undefined,
    apiKey: { id: organization.ownerId, name: 'test' },
    permissions: new Set(permissions),
  };
  let clock = startAt;

  const query = async <T extends object>(text: string): Promise<T[]> =>
    inOrganization(api.orm, organization.id, async (em) => em.execute<T[]>(text));

  /** What is due until `at` happens when it is due, as the workflows would have it happen. */
  async function advance(at: number): Promise<void> {
    for (;;) {
      const [due] = await query<{ id: string; due_at: string }>(
        `select id, due_at from notice_group where due_at <= '${new Date(at).toISOString()}' order by due_at, id limit 1`,
      );
      if (due === undefined) break;
      await tick(due.id, new Date(due.due_at).getTime());
    }
    clock = Math.max(clock, at);
  }

  async function tick(groupId: string, at: number) {
    return tickNoticeGroup({ orm: api.orm, facts: api.deps.facts }, { organizationId: organization.id, groupId }, at);
  }

  /** Events that are accepted together at `at`. */
  async function post(at: number, ...events: ReadonlyArray<{ type: string; [field: string]: unknown }>): Promise<IntakeOutcome[]> {
    await advance(at - 1);
    clock = at;
    const now = new Date(at);
    const trail = createAuditTrail({
      action: 'event.ingest',
      method: 'post',
      route: '/events',
      requestId: 'test',
      ip: undefined,
      userAgent: undefined,
      principal,
      // the audit log takes nothing that has not happened yet
      now: new Date(),
    });
    const prepared = [];
    for (const event of events)
      prepared.push(await prepareEvent(api.deps.intake, organization.id, eventMaker(event, { data: undefined, now })));
    const result = await api.deps.intake.accept({ principal, now, trail, events: prepared });
    if ('replay' in result) throw new Error('Nothing was posted with a key');
    return result.outcomes;
  }

  return {
    advance,
    post,
    query,
    tick,
    seconds: (at: number) => startAt + at * 1_000,
    call: async (method: string, path: string, body?: unknown) => {
      const answer = await api.request(method, path, { key: organization.key, body });
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.text}`);
      return answer.body;
    },
    /** The silence does what it has to do by `at`. */
    stepSilence: async (id: string, at: number) =>
      stepSilence(
        { orm: api.orm, facts: api.deps.facts, announce: () => undefined },
        { organizationId: organization.id, silenceId: fromWireId('silence', id)! },
        () => at,
      ),
    groups: async () =>
      query<{ id: string; version: number; seen_version: number; closed_at: string | null }>('select * from notice_group'),
    /** Whole: what was said, when, and through how many deliveries. */
    async notices(): Promise<NoticeLine[]> {
      const rows = await query<{
        at: string;
        reason: string;
        firing: Array<{ subject: string }>;
        resolved: Array<{ subject: string }>;
        sent: number;
      }>(
        `select n.at, n.reason, n.firing, n.resolved, (select count(*) from delivery d where d.notice_id = n.id)::int as sent
          from notice n order by n.at, n.tick`,
      );
      return rows.map(({ at, reason, firing, resolved, sent }) => {
        const names = (members: Array<{ subject: string }>) => members.map(({ subject }) => subject).join(' ');
        const ended = resolved.length === 0 ? '' : `; resolved ${names(resolved)}`;
        return `${(new Date(at).getTime() - startAt) / 1_000}s ${reason.replace('group_', '')} {${names(firing)}}${ended} x${sent}`;
      });
    },
  };
}

/** What was decided for the channel. */
export function channelDecision(outcome: IntakeOutcome | undefined): Pick<Decision, 'verdict' | 'reason' | 'until'> | undefined {
  if (outcome === undefined || 'error' in outcome) return undefined;
  const found = outcome.decisions.find(({ target }) => target.kind === 'channel');
  return found && { verdict: found.verdict, reason: found.reason, until: found.until };
}
