import { sql } from 'kysely';
import type { MessagePurpose } from '../../domain/message.ts';

/** A committed delivery that no run owns: what starting one needs to know. Ids are UUIDs. */
export interface UnownedDelivery {
  id: string;
  organizationId: string;
  destinationKind: 'webhook' | 'channel';
  destinationId: string;
  /** `webhook` for webhooks. */
  channelType: string;
  eventType: string;
  /** Runs that it has been in. */
  runSeq: number;
  /** Null: no escalation sends it. */
  purpose: MessagePurpose | null;
}

/** Its columns, of a `delivery d`. */
export const unownedColumns = sql.raw(
  `d.id, d.org_id as "organizationId", d.destination_kind as "destinationKind", d.destination_id as "destinationId",
   d.channel_type as "channelType", d.event_type as "eventType", d.run_seq as "runSeq", d.purpose`,
);
