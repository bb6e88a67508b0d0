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
