import { type RawBuilder, sql } from 'kysely';

/** An attempt of an escalation's message that has ended; UUIDs. */
export interface EndedMessage {
  deliveryId: string;
  /** Of the attempt. */
  auditEntryId: string | null;
}

/**
 * Tells the timelines which messages these attempts brought to an end, and how. Executed after the outcomes, in the same transaction; what is
 * told already, and what will be tried again, is left out.
 */
export function noteMessageEnds(organizationId: string, ended: readonly EndedMessage[]): RawBuilder<unknown> {
  return sql`
    insert into escalation_timeline (org_id, escalation_id, at, kind, status, round, tier, firing, reason, delivery_id, audit_entry_id)
      select d.org_id, d.escalation_id, d.finished_at,
          case when d.purpose = 'escalation_update' and d.state = 'delivered' then 'update_sent' else 'delivery' end,
          e.status, coalesce(f.round, e.round), coalesce(f.tier, e.tier), coalesce(d.firing, e.firing), d.state, d.id, x.entry_id
        from unnest(${ended.map(({ deliveryId }) => deliveryId)}::uuid[], ${ended.map(({ auditEntryId }) => auditEntryId)}::uuid[])
            as x (delivery_id, entry_id)
          join delivery d on d.org_id = ${organizationId} and d.id = x.delivery_id and d.finished_at is not null
          join escalation e on e.org_id = d.org_id and e.id = d.escalation_id
          left join escalation_firing f on f.org_id = d.org_id and f.escalation_id = d.escalation_id and f.firing = d.firing
        where not exists (
          select from escalation_timeline t
            where t.org_id = d.org_id and t.escalation_id = d.escalation_id and t.delivery_id = d.id and t.at = d.finished_at)
  `;
}
