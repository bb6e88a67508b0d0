import { Migration } from '@mikro-orm/migrations';

/** How people want to hear of things: of each of them, and the defaults of projects and of the organization. */
export class Migration0006Preferences extends Migration {
  override name = '0006-preferences';

  override up(): void {
    this.addSql(`
      create table preferences (
        org_id uuid not null references organization (id),
        owner_kind text not null check (owner_kind in ('user', 'project', 'organization')),
        owner_id uuid not null,
        version int not null,
        -- as the domain has them
        rules jsonb not null,
        -- of people only
        time_zone text,
        quiet_hours jsonb,
        -- the organization's when this row was last changed: whoever knows an older one reads the rows above it and keeps the others
        routing_version bigint not null default 0,
        updated_at timestamptz(3) not null,
        primary key (org_id, owner_kind, owner_id),
        check (owner_kind = 'user' or quiet_hours is null),
        check ((owner_kind = 'user') = (time_zone is not null))
      );
      create index preferences_changed on preferences (org_id, routing_version);

      -- Of the changes that the version counts, those of preferences: while the difference stays, nothing else has changed.
      alter table routing_version add column of_preferences bigint not null default 0;

      create function stamp_preferences() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
      begin
        insert into routing_version (org_id, version, of_preferences) values (new.org_id, 1, 1)
          on conflict (org_id) do update
            set version = routing_version.version + 1, of_preferences = routing_version.of_preferences + 1
          returning routing_version.version into new.routing_version;
        return new;
      end $$;
      create trigger routing_version before insert or update on preferences for each row execute function stamp_preferences();
      ${ownRows('preferences')}
      grant select, insert, update on preferences to tocsin_app;

      create table preferences_version (like preferences, primary key (org_id, owner_kind, owner_id, version));
      create trigger keep_version after insert or update of version on preferences for each row execute function keep_version();
      ${ownRows('preferences_version')}
      grant select, insert on preferences_version to tocsin_app;
    `);
  }
}

function ownRows(table: string): string {
  return `
      alter table ${table} enable row level security;
      create policy tenant on ${table} to tocsin_app
        using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
        with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);`;
}
