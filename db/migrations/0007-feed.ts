import { Migration } from '@mikro-orm/migrations';

/**
 * The feed of people with long histories: marking everything read writes a row per category however much there is, and what changed since
 * an instant is found by the transaction that wrote it.
 *
 * `written` is that transaction's id. Items are ordered by id, which says when they were made, not when they were committed: a transaction may
 * still be under way while somebody marks everything up to a newer item. A mark therefore keeps the snapshot in which it was made, and counts
 * only for what that snapshot saw. Rows without `written` are older than this migration.
 */
export class Migration0007Feed extends Migration {
  override name = '0007-feed';

  override up(): void {
    this.addSql(`
      -- The least id of the instant: ids begin with the time at which they were made.
      create function first_id_at(at timestamptz) returns uuid language sql immutable parallel safe
        return (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

      alter table notification add column written xid8;
      -- Apart from the line above: a default that is there from the start would rewrite the table.
      alter table notification alter column written set default pg_current_xact_id();
      -- A broadcast's: whom it is for, and until when. The role: null = all.
      alter table notification add column audience_role text, add column shown_until timestamptz(3);
      -- With the category, so that a category in which little happens is not looked for among all the others.
      drop index notification_user;
      create index notification_user on notification (org_id, user_id, feed, id) where user_id is not null;
      create index notification_all on notification (org_id, feed, id) where user_id is null;
      create index notification_written on notification (org_id, written);
      -- For retention alone: rows come in this order, so an index of ranges does, which costs next to nothing to keep.
      create index notification_created on notification using brin (created_at);
      create index notification_shown_until on notification (shown_until) where shown_until is not null;

      -- Without a time: not read, whatever a watermark says.
      alter table notification_read alter column read_at drop not null;
      alter table notification_read add column written xid8;
      alter table notification_read alter column written set default pg_current_xact_id();
      create index notification_read_written on notification_read (org_id, written);
      create index notification_read_item on notification_read (notification_id);
      create index notification_unread on notification_read (org_id, user_id, notification_id) where read_at is null;

      -- "All read", one row for each time and category. An item is read by it when its id is at most settled, or at most up_to and seen.
      create table notification_watermark (
        org_id uuid not null,
        user_id uuid not null,
        feed text not null,
        up_to uuid not null,
        -- old enough that every transaction with such an item had ended
        settled uuid not null,
        seen pg_snapshot not null,
        marked_at timestamptz(3) not null,
        written xid8 not null default pg_current_xact_id(),
        id uuid not null,
        primary key (org_id, user_id, feed, id)
      );
      create index notification_watermark_covers on notification_watermark (org_id, user_id, feed, up_to);
      create index notification_watermark_settled on notification_watermark (org_id, user_id, feed, settled);
      create index notification_watermark_written on notification_watermark (org_id, written);
      create index notification_watermark_item on notification_watermark (up_to);

      alter table notification_watermark enable row level security;
      create policy tenant on notification_watermark to tocsin_app
        using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
        with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
      grant select, insert, update, delete on notification_watermark to tocsin_app;
    `);
    for (const table of ['notification', 'notification_read', 'notification_watermark']) {
      this.addSql(`
        create policy relay on ${table} to tocsin_relay using (true) with check (true);
        grant select, update, delete on ${table} to tocsin_relay;
      `);
    }
    this.addSql(`
      create table stream_ticket (
        hash bytea primary key check (octet_length(hash) = 32),
        org_id uuid not null,
        -- of the API key that asked for it: the ticket lets in whoever that key lets in
        key_hash bytea not null check (octet_length(key_hash) = 32),
        expires_at timestamptz(3) not null
      );
      create index stream_ticket_expires on stream_ticket (expires_at);
      alter table stream_ticket enable row level security;
      create policy tenant on stream_ticket to tocsin_app
        using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
        with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
      grant insert on stream_ticket to tocsin_app;
      create policy relay on stream_ticket to tocsin_relay using (true) with check (true);
      grant select, update, delete on stream_ticket to tocsin_relay;
      -- Whoever shows a ticket says nothing of an organization. It is gone with its first use.
      create function redeem_stream_ticket(presented bytea, at timestamptz) returns bytea
        language sql security definer set search_path = pg_catalog, public, pg_temp as $$
        with used as (delete from stream_ticket where hash = presented returning key_hash, expires_at)
        select key_hash from used where expires_at > at
      $$;
      revoke execute on function redeem_stream_ticket(bytea, timestamptz) from public;
      grant execute on function redeem_stream_ticket(bytea, timestamptz) to tocsin_app;
    `);
  }
}
