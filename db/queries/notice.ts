import type { EntityManager } from '@mikro-orm/postgresql';
import { sql } from 'kysely';
import { problemKey } from '../../domain/hash.ts';
import { type MessageView, severityStyles } from '../../domain/message.ts';
import type { Severity } from '../../domain/severity.ts';
import { readMessage } from './message.ts';

interface NoticeRow {
  groupId: string;
  ruleName: string;
  at: string;
  subject: string;
  message: string;
  severity: Severity;
  eventId: string;
  firing: number;
  resolved: number;
}

/** A notice that shows an event, for who looks at the event. */
export interface ShownNotice {
  id: string;
  ruleId: string;
  at: string;
  reason: string;
  subject: string;
}

/** The first of those that show the event. Run in the organization. */
export async function listNoticesOfEvent(
  em: EntityManager,
  organizationId: string,
  eventId: string,
  limit: number,
): Promise<ShownNotice[]> {
  const { rows } = await sql<ShownNotice>`
    select n.id, n.rule_id as "ruleId", n.at, n.reason, n.subject
      from notice_event e join notice n on n.org_id = e.org_id and n.id = e.notice_id
      where e.org_id = ${organizationId} and e.event_id = ${eventId} order by n.at, n.id limit ${limit}
  `.execute(em.getKysely());
  return rows;
}

/**
 * Deletes groups that were closed before then, with their notices, for all organizations; run as `tocsin_relay`.
 * @returns how many: fewer than `limit` means that no more are old enough
 */
export async function deleteClosedGroups(em: EntityManager, { before, limit }: { before: Date; limit: number }): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    with doomed as (
      delete from notice_group where (org_id, id) in (
        select org_id, id from notice_group where closed_at < ${before} and closed_at is not null order by closed_at limit ${limit})
        returning org_id, id
    ),
    members as (delete from notice_group_member m using doomed g where m.org_id = g.org_id and m.group_id = g.id),
    notices as (delete from notice n using doomed g where n.org_id = g.org_id and n.group_id = g.id returning n.org_id, n.id),
    events as (delete from notice_event e using notices n where e.org_id = n.org_id and e.notice_id = n.id)
    select (select count(*) from doomed)::int as deleted
  `.execute(em.getKysely());
  return rows[0]!.deleted;
}

/** What channels say of a notice. Its row never changes, so every attempt says the same. Run in the organization. */
export async function readNotice(em: EntityManager, organizationId: string, noticeId: string): Promise<MessageView> {
  const { rows } = await sql<NoticeRow>`
    select n.group_id as "groupId", r.name as "ruleName", n.at, n.subject, n.message, n.severity, n.event_id as "eventId",
        jsonb_array_length(n.firing) as firing, jsonb_array_length(n.resolved) as resolved
      from notice n join rule r on r.id = n.rule_id
      where n.org_id = ${organizationId} and n.id = ${noticeId}
  `.execute(em.getKysely());
  const [notice] = rows;
  if (notice === undefined) throw new Error(`The notice ${noticeId} is gone`);
  const of = await readMessage(em, organizationId, notice.eventId);
  const { subject, severity, firing, resolved } = notice;
  const style = severityStyles[severity];
  // Of one event alone everything that is known; of several what they have in common is that the rule bundles them.
  const isSingle = firing + resolved === 1;
  return {
    ...of,
    subject,
    message: isSingle && firing === 1 ? of.message : notice.message,
    severity,
    severityLabel: style.label,
    color: style.color,
    occurredAt: new Date(notice.at).toISOString(),
    fields: [
      ...(isSingle ? of.fields : of.fields.filter(({ name }) => name === 'Project')),
      { name: 'Rule', value: notice.ruleName },
      ...(isSingle ? [] : [{ name: 'Firing', value: String(firing) }]),
      ...(resolved === 0 ? [] : [{ name: 'Resolved', value: String(resolved) }]),
    ],
    links: isSingle ? of.links : [],
    data: isSingle ? of.data : null,
    threadKey: problemKey(organizationId, `group:${notice.groupId}`),
  };
}
