import { Migration } from '@mikro-orm/migrations';

/**
 * Destinations, rules, events, deliveries. The tables written for every event carry no foreign keys: each would cost a lookup and a row lock
 * per row, and their rows are only ever written by one statement of the intake transaction.
 */
export class Migration0003Delivery extends Migration {
  override name = '0003-delivery';

  override up(): void {
    this.addSql(`
      create table webhook (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        url text not null,
        event_types text[] not null,
        project_ids uuid[] not null default '{}',
        secret bytea,
        previous_secrets jsonb not null default '[]',
        headers bytea,
        header_names text[] not null default '{}',
        active boolean not null default true,
        disabled_reason text,
        disabled_at timestamptz(3),
        timeout_seconds int not null default 15,
        max_in_flight int not null default 20,
        retry_policy jsonb not null default '{"kind":"standard"}',
        retry_client_errors boolean not null default true,
        signature_schemes text[] not null default '{v1}',
        signing_key bytea,
        signature_public_key text,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index webhook_name on webhook (org_id, name_key) where deleted_at is null;

      create table channel (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        type text not null,
        settings jsonb not null default '{}',
        secrets bytea,
        secret_hints jsonb not null default '{}',
        active boolean not null default true,
        disabled_reason text,
        disabled_at timestamptz(3),
        retry_policy jsonb not null default '{"kind":"standard"}',
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index channel_name on channel (org_id, name_key) where deleted_at is null;

      create table rule (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        enabled boolean not null default true,
        position int not null,
        types text[] not null default '{}',
        categories text[] not null default '{}',
        project_ids uuid[] not null default '{}',
        min_severity text,
        matchers jsonb not null default '[]',
        channel_ids uuid[] not null default '{}',
        stop boolean not null default false,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index rule_name on rule (org_id, name_key) where deleted_at is null;

      -- What routing reads is cached by the API processes; they compare this number in the intake transaction.
      create table routing_version (org_id uuid primary key, version bigint not null);
    `);
    this.addSql(`
      create function bump_routing_version() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
      begin
        insert into routing_version (org_id, version) values (coalesce(new.org_id, old.org_id), 1)
          on conflict (org_id) do update set version = routing_version.version + 1;
        return null;
      end $$;
      -- For transactions that were prepared with known facts: they commit only if the facts are still those.
      create function assert_routing_version(expected bigint) returns void language plpgsql stable as $$
      begin
        if expected <> coalesce((select version from routing_version where org_id = nullif(current_setting('app.org_id', true), '')::uuid), 0) then
          raise exception 'the routing configuration has changed' using errcode = 'TR001';
        end if;
      end $$;
      -- For transactions that record attempts hoping that nobody cancels their deliveries meanwhile.
      create function assert_none_cancelled(ids uuid[]) returns void language plpgsql stable as $$
      begin
        if exists (select from delivery where org_id = nullif(current_setting('app.org_id', true), '')::uuid and id = any(ids) and state = 'cancelled') then
          raise exception 'a delivery has been cancelled' using errcode = 'TR003';
        end if;
      end $$;
      -- Takes keys together with their answers, for transactions that were prepared hoping that none is taken: they commit only then.
      -- A concurrent holder of a key is waited for; whoever takes several takes them in order, so two never wait for each other.
      create function take_idempotency_keys(org uuid, principals uuid[], keys text[], hashes bytea[], statuses int[], answer_headers jsonb[],
        bodies bytea[], at timestamptz) returns void language plpgsql as $$
      declare taken int;
      begin
        insert into idempotency (org_id, principal_id, key, request_hash, status, headers, body, created_at)
          select org, k.principal_id, k.key, k.request_hash, k.status, k.headers, k.body, at
            from unnest(principals, keys, hashes, statuses, answer_headers, bodies) as k (principal_id, key, request_hash, status, headers, body)
            order by k.principal_id, k.key
          on conflict (org_id, principal_id, key) do update
            set request_hash = excluded.request_hash, status = excluded.status, headers = excluded.headers, body = excluded.body,
              created_at = excluded.created_at
            where idempotency.created_at < excluded.created_at - interval '24 hours';
        get diagnostics taken = row_count;
        if taken <> cardinality(keys) then
          raise exception 'an idempotency key is taken' using errcode = 'TR002';
        end if;
      end $$;
      create trigger routing_version after insert or update or delete on webhook for each row execute function bump_routing_version();
      create trigger routing_version after insert or update or delete on channel for each row execute function bump_routing_version();
      create trigger routing_version after insert or update or delete on rule for each row execute function bump_routing_version();
      create trigger routing_version after insert or update or delete on project for each row execute function bump_routing_version();
      create trigger routing_version after insert or update or delete on member for each row execute function bump_routing_version();
    `);
    this.addSql(`
      create table event (
        org_id uuid not null,
        id uuid not null,
        project_id uuid,
        tenant_id text,
        type text not null,
        posted_type text not null,
        category text not null,
        severity text not null,
        subject text not null,
        message text,
        source text not null,
        environment text,
        git_commit_sha text,
        resource jsonb,
        actor jsonb,
        labels jsonb not null default '{}',
        links jsonb not null default '[]',
        data text,
        audience uuid[],
        dedup_key text not null,
        group_key text,
        occurred_at timestamptz(3) not null,
        accepted_at timestamptz(3) not null,
        principal_type text not null,
        principal_id uuid not null,
        -- the webhook body, rendered once; every delivery and attempt sends these bytes. Null: no webhook wants it, or none can any more
        body bytea,
        primary key (org_id, id)
      );
      create index event_type on event (org_id, type, id);

      create table decision (
        org_id uuid not null,
        event_id uuid not null,
        ordinal smallint not null,
        target_kind text not null,
        target_id uuid,
        verdict text not null,
        reason text not null,
        winner text,
        losers jsonb not null default '[]',
        until timestamptz(3),
        delivery_id uuid,
        primary key (org_id, event_id, ordinal)
      );

      create table delivery (
        org_id uuid not null,
        id uuid not null,
        event_id uuid not null,
        event_type text not null,
        destination_kind text not null,
        destination_id uuid not null,
        channel_type text not null,
        state text not null,
        cycle int not null default 1,
        run_id text,
        run_seq int not null default 0,
        schedule_pos int not null default 0,
        attempt_count int not null default 0,
        total_attempts int not null default 0,
        interruptions int not null default 0,
        rate_limits int not null default 0,
        trigger text not null default 'schedule',
        next_attempt_at timestamptz(3),
        hold_reason text,
        cancel_requested boolean not null default false,
        status_code int,
        error_code text,
        claimed_by text,
        -- what the provider needs to find the message again, or who has it already
        provider_ref jsonb,
        created_at timestamptz(3) not null,
        finished_at timestamptz(3),
        -- finished_at again when it ended failed or cancelled: few of many, so their list has an index of its own
        undelivered_at timestamptz(3),
        primary key (org_id, id)
      ) with (fillfactor = 70);
      -- No index names the state: then setting a delivery of a run in flight touches no index. An event's deliveries are in its decisions.
      create index delivery_destination on delivery (org_id, destination_id, id);
      create index delivery_undelivered on delivery (org_id, id) where undelivered_at is not null;
      create index delivery_run on delivery (org_id, run_id) where run_id is not null and finished_at is null;
      create index delivery_due on delivery (next_attempt_at) where finished_at is null;
      create index delivery_finished on delivery (finished_at) where finished_at is not null and claimed_by is null;

      create table attempt (
        org_id uuid not null,
        delivery_id uuid not null,
        number int not null,
        cycle int not null,
        trigger text not null,
        lane text not null,
        worker_id uuid not null,
        started_at timestamptz(3) not null,
        deadline_at timestamptz(3) not null,
        finished_at timestamptz(3),
        duration_ms int,
        timings jsonb,
        outcome text,
        error_code text,
        error_detail text,
        status_code int,
        remote_address text,
        tls_version text,
        request_headers jsonb,
        request_sha256 bytea,
        request_bytes int,
        response_headers jsonb,
        response_body text,
        response_encoding text,
        response_truncated boolean not null default false,
        retry_after_ms int,
        next_delay_ms int,
        schedule_consumed boolean,
        possible_duplicate boolean not null default false,
        primary key (org_id, delivery_id, number)
      ) with (fillfactor = 70);

      create table notification (
        org_id uuid not null,
        id uuid not null,
        -- null: for every member (fanned out on read)
        user_id uuid,
        event_id uuid not null,
        type text not null,
        feed text not null,
        severity text not null,
        project_id uuid,
        subject text not null,
        message text,
        created_at timestamptz(3) not null,
        primary key (org_id, id)
      );
      create index notification_user on notification (org_id, user_id, id) where user_id is not null;

      create table notification_read (
        org_id uuid not null,
        user_id uuid not null,
        notification_id uuid not null,
        read_at timestamptz(3) not null,
        primary key (org_id, user_id, notification_id)
      );

      -- One row per worker process, renewed each second; unrenewed for 5 s (this server's clock) means dead.
      create table worker_lease (
        worker_id uuid primary key,
        instance text,
        started_at timestamptz(3) not null,
        renewed_at timestamptz(3) not null
      );

      -- Results of synchronous tests: kept for ten minutes, because a workflow's result must not hold what a receiver answered.
      create table destination_test (
        org_id uuid not null,
        id uuid not null,
        result jsonb not null,
        created_at timestamptz(3) not null,
        primary key (org_id, id)
      );
      create index destination_test_created on destination_test (created_at);

      create table loop_status (name text primary key, worker_id uuid, last_run_at timestamptz(3) not null, detail jsonb not null default '{}');
    `);
    // Statements prepared while the tables are new are planned for nearly empty tables, and autovacuum looks once a minute. Until the
    // first thousands of rows are counted, such a plan reads all of them for each row it wants.
    this.addSql(`
      alter table delivery set (autovacuum_vacuum_scale_factor = 0.05);
      alter table attempt set (autovacuum_vacuum_scale_factor = 0.05);
      -- A small sample: the order of magnitude decides, and a full one of tables with wide rows costs seconds.
      create function analyze_grown_tables() returns int language plpgsql security definer
        set search_path = pg_catalog, public, pg_temp set default_statistics_target = 10 as $$
      declare grown record; analyzed int := 0;
      begin
        for grown in
          select c.oid::regclass as name from pg_class c join pg_stat_user_tables s on s.relid = c.oid
            where (c.relname in ('event', 'decision', 'delivery', 'attempt', 'notification', 'leaf') or c.relname like 'entry%')
              and s.schemaname in ('public', 'audit') and c.relkind = 'r'
              and s.n_live_tup > 200 and s.n_live_tup > 8 * greatest(c.reltuples, 0)
        loop
          execute format('analyze %s', grown.name);
          analyzed := analyzed + 1;
        end loop;
        return analyzed;
      end $$;
      revoke execute on function analyze_grown_tables() from public;
      grant execute on function analyze_grown_tables() to tocsin_relay;
    `);
    for (const table of tenantTables) {
      this.addSql(`
        alter table ${table} enable row level security;
        create policy tenant on ${table} to tocsin_app
          using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
          with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
        grant select, insert, update, delete on ${table} to tocsin_app;
      `);
    }
    for (const table of ['webhook', 'channel', 'event', 'delivery', 'attempt', 'destination_test']) {
      this.addSql(`
        create policy relay on ${table} to tocsin_relay using (true) with check (true);
        grant select, update, delete on ${table} to tocsin_relay;
      `);
    }
    this.addSql(`
      create policy relay on decision to tocsin_relay using (true);
      grant select on decision to tocsin_relay;
      alter table routing_version enable row level security;
      create policy tenant on routing_version to tocsin_app using (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
      grant select on routing_version to tocsin_app;
      grant select, insert, update, delete on worker_lease, loop_status to tocsin_relay;
      grant select on worker_lease, loop_status to tocsin_app;
    `);
  }
}

const tenantTables = [
  'webhook',
  'channel',
  'rule',
  'event',
  'decision',
  'delivery',
  'attempt',
  'notification',
  'notification_read',
  'destination_test',
];
