import { Migration } from '@mikro-orm/migrations';

/**
 * Whom to page, when and how: calendars, silences, schedules with their overrides, contact methods, escalation policies, integrations; and
 * the event types that organizations add.
 * What decisions and running escalations refer to by version keeps every version, in a table of the same columns beside its own.
 */
export class Migration0004OnCall extends Migration {
  override name = '0004-on-call';

  override up(): void {
    this.createConfiguration();
    this.createOverrides();
    this.createContactMethods();
    this.createIntegrations();
    for (const table of [...versioned, 'schedule_override', 'contact_method', 'integration', 'escalation_policy_test']) {
      // a rule has its row security and grants since it exists
      if (table !== 'rule') this.addSql(`${ownRows(table)} grant select, insert, update on ${table} to tocsin_app;`);
    }
    this.addSql(`${ownRows('contact_code')} grant select, insert, update, delete on contact_code to tocsin_app;`);
    this.keepVersions();
  }

  private createConfiguration(): void {
    this.addSql(`
      alter table rule add column policy_id uuid, add column aggregate jsonb;

      create table calendar (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        time_zone text not null,
        intervals jsonb not null,
        holidays text[] not null default '{}',
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index calendar_name on calendar (org_id, name_key) where deleted_at is null;

      create table silence (
        id uuid primary key,
        org_id uuid not null references organization (id),
        matchers jsonb not null,
        comment text not null,
        starts_at timestamptz(3) not null,
        -- a cancelled one ended then, or never began: it mutes in [starts_at, ends_at) whatever became of it
        ends_at timestamptz(3) not null,
        cancelled_at timestamptz(3),
        creator_type text not null,
        creator_id uuid not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        check (ends_at >= starts_at)
      );
      create index silence_end on silence (org_id, ends_at);

      create table schedule (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        time_zone text not null,
        layers jsonb not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index schedule_name on schedule (org_id, name_key) where deleted_at is null;

      create table escalation_policy (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        enabled boolean not null default true,
        owner_user_id uuid,
        -- everything else, as the domain has it
        definition jsonb not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index escalation_policy_name on escalation_policy (org_id, name_key) where deleted_at is null;

      create table escalation_policy_test (
        id uuid primary key,
        org_id uuid not null references organization (id),
        policy_id uuid not null references escalation_policy (id),
        name text not null,
        name_key text not null,
        -- what is simulated and what it has to send, as the domain has them
        plan jsonb not null,
        expected jsonb not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index escalation_policy_test_name on escalation_policy_test (org_id, policy_id, name_key) where deleted_at is null;
      create index escalation_policy_test_policy on escalation_policy_test (org_id, policy_id, id) where deleted_at is null;
    `);
    this.addSql(`
      create table custom_event_type (
        id uuid primary key,
        org_id uuid not null references organization (id),
        type text not null,
        category text not null,
        feed text not null,
        description text not null,
        default_severity text not null,
        effect text not null,
        family text not null,
        aliases text[] not null default '{}',
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index custom_event_type_type on custom_event_type (org_id, type) where deleted_at is null;
    `);
    for (const table of ['calendar', 'silence', 'escalation_policy', 'custom_event_type']) {
      this.addSql(
        `create trigger routing_version after insert or update or delete on ${table} for each row execute function bump_routing_version();`,
      );
    }
  }

  /**
   * Two overrides of one schedule must not overlap when they are about one person, or when one of them replaces everybody. A range of
   * UUIDs says both: a person is one point of it, everybody is all of it. No extension is needed.
   */
  private createOverrides(): void {
    this.addSql(`
      create type uuid_range as range (subtype = uuid);
      create table schedule_override (
        id uuid primary key,
        org_id uuid not null references organization (id),
        schedule_id uuid not null references schedule (id),
        kind text not null check (kind in ('replace', 'add', 'remove')),
        user_id uuid not null,
        -- null with 'replace': everybody
        instead_of uuid,
        starts_at timestamptz(3) not null,
        ends_at timestamptz(3) not null,
        reason text not null,
        creator_type text not null,
        creator_id uuid not null,
        created_at timestamptz(3) not null,
        deleted_at timestamptz(3),
        -- not columns: nobody reads them
        constraint schedule_override_overlap exclude using gist (
          uuid_range(schedule_id, schedule_id, '[]') with &&,
          (case
            when kind <> 'replace' then uuid_multirange(uuid_range(user_id, user_id, '[]'))
            when instead_of is null then uuid_multirange(uuid_range(null, null))
            else uuid_multirange(uuid_range(user_id, user_id, '[]'), uuid_range(instead_of, instead_of, '[]'))
          end) with &&,
          tstzrange(starts_at, ends_at) with &&
        ) where (deleted_at is null),
        check (ends_at > starts_at),
        check (kind = 'replace' or instead_of is null)
      );
      create index schedule_override_end on schedule_override (org_id, schedule_id, ends_at);
    `);
  }

  private createContactMethods(): void {
    this.addSql(`
      create table contact_method (
        id uuid primary key,
        org_id uuid not null references organization (id),
        user_id uuid not null references member (id),
        channel_type text not null,
        address text not null,
        address_key text not null,
        -- the member's own e-mail address, with the member's id: there from the start, and stays
        login boolean not null default false,
        page boolean not null default false,
        digest_interval_ms int not null default 900000,
        daily_at text not null default '09:00',
        verified_at timestamptz(3),
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index contact_method_address on contact_method (org_id, user_id, channel_type, address_key) where deleted_at is null;

      -- One row per code that was asked for. The code itself is known to the worker that sends it, and to its reader.
      create table contact_code (
        id uuid primary key,
        org_id uuid not null references organization (id),
        contact_method_id uuid not null references contact_method (id),
        user_id uuid not null,
        code_hash bytea,
        tries int not null default 0,
        created_at timestamptz(3) not null,
        expires_at timestamptz(3) not null
      );
      create index contact_code_user on contact_code (org_id, user_id, created_at);

      create function keep_login_contact() returns trigger language plpgsql as $$
      begin
        insert into contact_method (id, org_id, user_id, channel_type, address, address_key, login, page, verified_at, created_at, updated_at)
          values (new.id, new.org_id, new.id, 'email', new.email, new.email_key, true, true, new.created_at, new.created_at, new.created_at)
          on conflict (id) do update
            set address = excluded.address, address_key = excluded.address_key, version = contact_method.version + 1, updated_at = new.updated_at;
        return null;
      end $$;
      create trigger keep_login_contact after insert or update of email on member for each row execute function keep_login_contact();
      insert into contact_method (id, org_id, user_id, channel_type, address, address_key, login, page, verified_at, created_at, updated_at)
        select id, org_id, id, 'email', email, email_key, true, true, created_at, created_at, created_at from member;
    `);
  }

  private createIntegrations(): void {
    this.addSql(`
      create table integration (
        id uuid primary key,
        org_id uuid not null references organization (id),
        name text not null,
        name_key text not null,
        type text not null,
        settings jsonb not null default '{}',
        secrets bytea,
        secret_hints jsonb not null default '{}',
        -- id of a person there -> id of a member
        user_links jsonb not null default '{}',
        active boolean not null default true,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        deleted_at timestamptz(3)
      );
      create unique index integration_name on integration (org_id, name_key) where deleted_at is null;

      -- A provider's call names an integration and no organization: this is all that is told before its signature is checked.
      create function integration_organization(wanted uuid) returns uuid
        language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
          select org_id from integration where id = wanted and deleted_at is null
        $$;
      revoke execute on function integration_organization(uuid) from public;
      grant execute on function integration_organization(uuid) to tocsin_app;
    `);
  }

  /** A new version is copied by the database, so that no writer can forget it; the roles may add to the copies and change none. */
  private keepVersions(): void {
    this.addSql(`
      create function keep_version() returns trigger language plpgsql as $$
      begin
        execute format('insert into %I select ($1).*', tg_table_name || '_version') using new;
        return null;
      end $$;
    `);
    for (const table of versioned) {
      this.addSql(`
        create table ${table}_version (like ${table}, primary key (id, version));
        insert into ${table}_version select * from ${table};
        create trigger keep_version after insert or update of version on ${table} for each row execute function keep_version();
        ${ownRows(`${table}_version`)}
        grant select, insert on ${table}_version to tocsin_app;
      `);
    }
  }
}

const versioned = ['rule', 'silence', 'calendar', 'schedule', 'escalation_policy', 'custom_event_type'];

function ownRows(table: string): string {
  return `
    alter table ${table} enable row level security;
    create policy tenant on ${table} to tocsin_app
      using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
      with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);`;
}
