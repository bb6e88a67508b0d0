import { Migration } from '@mikro-orm/migrations';

/**
 * The audit log: what happened (entry), the private values (entry_private), what waits to be sequenced (pending), and the commitment to
 * it all (tree, leaf, tile). The database itself refuses every change of what is written; row triggers reach the partitions made later,
 * but TRUNCATE triggers do not, so each partition gets its own. Nothing here refers to a table outside.
 */
export class Migration0002Audit extends Migration {
  override name = '0002-audit';

  override up(): void {
    this.addSql(`create schema audit; grant usage on schema audit to tocsin_app, tocsin_sequencer`);
    this.addSql(installation);
    this.addSql(refuseChange);
    this.addSql(entries);
    this.addSql(entryIndexes);
    this.addSql(control);
    this.addSql(pending);
    this.addSql(trees);
    for (const table of ['entry', 'entry_private', 'control', 'leaf']) this.addSql(appendOnly(table));
    this.addSql(growOnly);
    for (const table of ['entry', 'entry_private', 'control', 'pending', 'leaf', 'tile', 'tree']) this.addSql(ownRows(table));
    for (const table of ['pending', 'leaf', 'tile', 'tree']) this.addSql(everyRow(table));
    this.addSql(grants);
    this.addSql(partitions);
    this.addSql(append);
    this.addSql(lag);
    this.addSql(`select audit.ensure_partitions(4)`);
  }
}

const installation = `
create table audit.installation (id text not null);
create unique index on audit.installation ((true));
insert into audit.installation values (replace(gen_random_uuid()::text, '-', ''));
grant select on audit.installation to tocsin_app, tocsin_sequencer`;

const refuseChange = `
create function audit.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'audit.% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'object_not_in_prerequisite_state';
end $$`;

// No DEFAULT partition: an entry without a month must fail its mutation, not hide where retention does not look.
const entries = `
create table audit.entry (
  id uuid not null,
  org_id uuid not null,
  recorded_at timestamptz(3) not null,
  occurred_at timestamptz(3) not null,
  project_id uuid,
  tenant_id text,
  class text not null,
  category text not null,
  action text not null,
  verb text not null,
  status text not null,
  actor_type text not null,
  actor_id text not null,
  resource_type text,
  resource_id text,
  resource_name text,
  tool text not null,
  git_commit_sha text,
  correlation_id text,
  break_glass_session_id text,
  changed text[],
  canonical bytea not null,
  leaf_hash bytea not null,
  primary key (recorded_at, id),
  constraint entry_leaf_hash check (leaf_hash = sha256('\\x00'::bytea || canonical)),
  constraint entry_size check (octet_length(canonical) <= 32768),
  constraint entry_occurred check (
    occurred_at >= recorded_at - interval '744 hours' and occurred_at <= recorded_at + interval '5 minutes'),
  constraint entry_id_time check (
    ('x' || replace(left(id::text, 13), '-', ''))::bit(48)::bigint = (extract(epoch from recorded_at) * 1000)::bigint)
) partition by range (recorded_at);
create table audit.entry_private (
  recorded_at timestamptz(3) not null,
  id uuid not null,
  org_id uuid not null,
  subject_ids text[] not null,
  dek_versions int[] not null,
  envelopes bytea[] not null,
  ip_bidx bytea,
  search text,
  primary key (recorded_at, id),
  constraint entry_private_parts check (
    cardinality(subject_ids) = cardinality(envelopes) and cardinality(dek_versions) = cardinality(envelopes))
) partition by range (recorded_at)`;

const entryIndexes = `
create index entry_time on audit.entry (org_id, occurred_at desc, id desc);
create index entry_actor on audit.entry (org_id, actor_id, occurred_at desc);
create index entry_resource on audit.entry (org_id, resource_type, resource_id, occurred_at desc);
create index entry_project on audit.entry (org_id, project_id, occurred_at desc) where project_id is not null;
create index entry_commit on audit.entry (org_id, git_commit_sha) where git_commit_sha is not null;
create index entry_correlation on audit.entry (org_id, correlation_id, occurred_at) where correlation_id is not null;
create index entry_unsuccessful on audit.entry (org_id, occurred_at desc) where status <> 'success';
create index entry_break_glass on audit.entry (org_id, occurred_at desc) where break_glass_session_id is not null`;

const control = `
create table audit.control (
  id uuid primary key,
  org_id uuid not null,
  recorded_at timestamptz(3) not null,
  canonical bytea not null,
  leaf_hash bytea not null check (leaf_hash = sha256('\\x00'::bytea || canonical))
)`;

// Rows live for a fraction of a second: vacuum by count, or the queue's index fills with the dead.
const pending = `
create table audit.pending (
  pid bigint generated always as identity primary key,
  org_id uuid not null,
  entry_id uuid not null,
  recorded_at timestamptz(3) not null,
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
  inserted_at timestamptz(3) not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)`;

const trees = `
create table audit.tree (
  tree_id bigint generated always as identity primary key,
  org_id uuid not null,
  epoch int not null default 0,
  origin text not null unique,
  size bigint not null default 0 check (size >= 0),
  root_hash bytea not null check (octet_length(root_hash) = 32),
  chain_hash bytea not null check (octet_length(chain_hash) = 32),
  min_index bigint not null default 0,
  frozen_at timestamptz(3),
  unique (org_id, epoch)
);
create table audit.leaf (
  tree_id bigint not null,
  idx bigint not null check (idx >= 0),
  org_id uuid not null,
  entry_id uuid not null,
  recorded_at timestamptz(3) not null,
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
  chain_hash bytea not null check (octet_length(chain_hash) = 32),
  sequenced_at timestamptz(3) not null default clock_timestamp(),
  primary key (tree_id, idx),
  unique (tree_id, entry_id)
);
create table audit.tile (
  tree_id bigint not null,
  level int not null check (level >= 0),
  n bigint not null check (n >= 0),
  org_id uuid not null,
  width int not null check (width between 1 and 256),
  data bytea not null,
  primary key (tree_id, level, n),
  check (octet_length(data) = 32 * width)
)`;

const appendOnly = (table: string) => `
create trigger refuse_change before update or delete on audit.${table} for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.${table} for each statement execute function audit.refuse_change()`;

const growOnly = `
create function audit.grow_only() returns trigger language plpgsql as $$
begin
  if tg_table_name = 'tree' then
    if new.size < old.size or new.min_index < old.min_index
      or (new.tree_id, new.org_id, new.epoch, new.origin) is distinct from (old.tree_id, old.org_id, old.epoch, old.origin)
      or (new.size > old.size and old.frozen_at is not null) then
      raise exception 'audit.tree only grows' using errcode = 'object_not_in_prerequisite_state';
    end if;
  elsif (new.tree_id, new.level, new.n, new.org_id) is distinct from (old.tree_id, old.level, old.n, old.org_id)
    or new.width < old.width or substring(new.data for octet_length(old.data)) <> old.data then
    raise exception 'audit.tile only grows' using errcode = 'object_not_in_prerequisite_state';
  end if;
  return new;
end $$;
create trigger grow_only before update on audit.tree for each row execute function audit.grow_only();
create trigger grow_only before update on audit.tile for each row execute function audit.grow_only();
create trigger refuse_delete before delete on audit.tree for each row execute function audit.refuse_change();
create trigger refuse_delete before delete on audit.tile for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.tree for each statement execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.tile for each statement execute function audit.refuse_change()`;

const ownRows = (table: string) => `
alter table audit.${table} enable row level security;
create policy ${table}_own on audit.${table} to tocsin_app
  using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
  with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid)`;

const everyRow = (table: string) => `create policy ${table}_every on audit.${table} to tocsin_sequencer using (true) with check (true)`;

// On the parents only: partitions have no row security of their own, so nobody may address them directly.
const grants = `
grant select, insert on audit.entry, audit.entry_private to tocsin_app;
grant insert on audit.control, audit.pending to tocsin_app;
grant select on audit.leaf, audit.tile, audit.tree to tocsin_app;
grant select, update, delete on audit.pending to tocsin_sequencer;
grant select, insert on audit.leaf to tocsin_sequencer;
grant select, insert, update on audit.tile, audit.tree to tocsin_sequencer`;

// LIKE + ATTACH instead of PARTITION OF: attaching does not lock out the writers of the parent.
const partitions = `
create function audit.ensure_partitions(months_ahead int) returns int
language plpgsql security definer set search_path = pg_catalog, audit, pg_temp as $$
declare
  made int := 0;
  starts timestamp;
  parent text;
  child text;
begin
  perform pg_advisory_xact_lock(hashtextextended('tocsin.audit.partitions', 0));
  for k in -1 .. months_ahead loop
    starts := date_trunc('month', now() at time zone 'UTC') + make_interval(months => k);
    foreach parent in array array['entry', 'entry_private'] loop
      child := parent || to_char(starts, '_YYYY_MM');
      continue when to_regclass(format('audit.%I', child)) is not null;
      execute format('create table audit.%I (like audit.%I including defaults including constraints including storage)', child, parent);
      execute format('create trigger refuse_truncate before truncate on audit.%I for each statement execute function audit.refuse_change()', child);
      execute format('alter table audit.%I attach partition audit.%I for values from (%L) to (%L)', parent, child,
        starts at time zone 'UTC', (starts + interval '1 month') at time zone 'UTC');
      made := made + 1;
    end loop;
  end loop;
  return made;
end $$;
revoke execute on function audit.ensure_partitions(int) from public;
grant execute on function audit.ensure_partitions(int) to tocsin_sequencer`;

// A function, because its plan is kept per connection: planning inserts into partitioned tables costs more than doing them. It has the
// caller's rights, so row security holds. Arrays hold one element per entry; those of a row's own arrays are array literals, and the bytes
// of all rows one string (byte-columns.ts).
const append = `
create function audit.append(
  at timestamptz, ids uuid[], org_ids uuid[], occurred timestamptz[], project_ids uuid[], tenant_ids text[], classes text[],
  categories text[], actions text[], verbs text[], statuses text[], actor_types text[], actor_ids text[], resource_types text[],
  resource_ids text[], resource_names text[], tools text[], git_commit_shas text[], correlation_ids text[],
  break_glass_session_ids text[], changes text[], documents bytea, starts int[], lengths int[], leaf_hashes bytea, subjects text[],
  versions text[], sealed text[]
) returns void language plpgsql set search_path = pg_catalog, audit, pg_temp as $$
begin
  with draft as (
    select *, substring(documents from start for length) as canonical, substring(leaf_hashes from (n * 32 - 31)::int for 32) as leaf_hash
    from unnest(ids, org_ids, occurred, project_ids, tenant_ids, classes, categories, actions, verbs, statuses, actor_types,
      actor_ids, resource_types, resource_ids, resource_names, tools, git_commit_shas, correlation_ids, break_glass_session_ids,
      changes, starts, lengths, subjects, versions, sealed
    ) with ordinality as d(id, org_id, occurred_at, project_id, tenant_id, class, category, action, verb, status, actor_type, actor_id,
      resource_type, resource_id, resource_name, tool, git_commit_sha, correlation_id, break_glass_session_id, changed, start, length,
      subject_ids, dek_versions, envelopes, n)
  ), written as (
    insert into entry (id, org_id, recorded_at, occurred_at, project_id, tenant_id, class, category, action, verb, status, actor_type,
      actor_id, resource_type, resource_id, resource_name, tool, git_commit_sha, correlation_id, break_glass_session_id, changed,
      canonical, leaf_hash)
    select id, org_id, at, occurred_at, project_id, tenant_id, class, category, action, verb, status, actor_type, actor_id,
      resource_type, resource_id, resource_name, tool, git_commit_sha, correlation_id, break_glass_session_id, changed::text[],
      canonical, leaf_hash
    from draft
  ), written_private as (
    insert into entry_private (recorded_at, id, org_id, subject_ids, dek_versions, envelopes)
    select at, id, org_id, subject_ids::text[], dek_versions::int[], envelopes::bytea[] from draft where subject_ids is not null
  )
  insert into pending (org_id, entry_id, recorded_at, leaf_hash) select org_id, id, at, leaf_hash from draft;
end $$;
revoke execute on function audit.append from public;
grant execute on function audit.append to tocsin_app`;

// The queue itself is nobody's to read; these tell how long it is. 100,001 means "more than 100,000".
const lag = `
create function audit.sequencer_lag() returns table (entries bigint, oldest_seconds double precision)
language sql stable security definer set search_path = pg_catalog, audit, pg_temp as $$
  select (select count(*) from (select from pending limit 100001) waiting),
    coalesce((select extract(epoch from clock_timestamp() - inserted_at) from pending order by pid limit 1), 0)
$$;
create function audit.own_pending() returns table (entry_id uuid, waiting_seconds double precision)
language sql stable security definer set search_path = pg_catalog, audit, pg_temp as $$
  select entry_id, extract(epoch from clock_timestamp() - inserted_at)
  from pending where org_id = nullif(current_setting('app.org_id', true), '')::uuid order by pid limit 100001
$$;
revoke execute on function audit.sequencer_lag(), audit.own_pending() from public;
grant execute on function audit.sequencer_lag() to tocsin_app, tocsin_relay, tocsin_sequencer;
grant execute on function audit.own_pending() to tocsin_app;
grant usage on schema audit to tocsin_relay`;
