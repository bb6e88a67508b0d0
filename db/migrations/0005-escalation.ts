import { Migration } from '@mikro-orm/migrations';

/** What is wrong now, and what is done until somebody takes care of it. */
export class Migration0005Escalation extends Migration {
  override name = '0005-escalation';

  override up(): void {
    this.createProblems();
    this.createSilenced();
    this.createEscalations();
    this.createLinkTokens();
    this.createWatchdog();
    this.createNotices();
    for (const table of tenantTables) this.addSql(ownRows(table));
    // Who is paged depends on them, and intake pages with what it knows.
    for (const table of ['schedule', 'schedule_override', 'contact_method']) {
      this.addSql(
        `create trigger routing_version after insert or update or delete on ${table} for each row execute function bump_routing_version();`,
      );
    }
    this.addSql(`
      create function bump_own_routing_version() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
      begin
        insert into routing_version (org_id, version) values (new.id, 1)
          on conflict (org_id) do update set version = routing_version.version + 1;
        return null;
      end $$;
      create trigger routing_version after update of settings on organization for each row execute function bump_own_routing_version();
    `);
    this.addSql(`
      create policy relay on escalation to tocsin_relay using (true) with check (true);
      grant select, update on escalation to tocsin_relay;
      create policy relay on link_token to tocsin_relay using (true);
      create policy relay on escalation_command to tocsin_relay using (true);
      create policy relay on occurrence to tocsin_relay using (true);
      grant select, update, delete on link_token, escalation_command, occurrence, watchdog_alarm to tocsin_relay;
      create policy relay on silence_clock to tocsin_relay using (true);
      grant select on silence_clock to tocsin_relay;
    `);
  }

  /** Whoever opens, repeats or ends a problem holds its key's lock: there may be no row to lock yet. */
  private createProblems(): void {
    this.addSql(`
      create table problem (
        id uuid primary key,
        org_id uuid not null references organization (id),
        project_id uuid,
        family text not null,
        dedup_key text not null,
        highest_severity text not null,
        count bigint not null,
        opened_at timestamptz(3) not null,
        last_at timestamptz(3) not null,
        first_event_id uuid not null,
        last_event_id uuid not null,
        ended_at timestamptz(3),
        ended_by text check (ended_by in ('resolved', 'expired', 'command')),
        check ((ended_at is null) = (ended_by is null))
      );
      create unique index problem_open on problem (org_id, family, dedup_key, project_id) nulls not distinct where ended_at is null;
      create index problem_ended on problem (org_id, ended_at) where ended_at is not null;

      create table occurrence (
        org_id uuid not null references organization (id),
        project_id uuid,
        type text not null,
        dedup_key text not null,
        first_at timestamptz(3) not null,
        count bigint not null
      );
      create unique index occurrence_key on occurrence (org_id, type, dedup_key, project_id) nulls not distinct;
      create index occurrence_age on occurrence (first_at);

      -- In the order of the locks, so that two transactions with the same keys wait for each other instead of deadlocking.
      create function lock_keys(keys text[]) returns void language plpgsql as $$
      declare lock bigint;
      begin
        for lock in select distinct hashtextextended(current_setting('app.org_id') || ' ' || key, 0) from unnest(keys) as key order by 1 loop
          perform pg_advisory_xact_lock(lock);
        end loop;
      end $$;
    `);
  }
  /** What becomes of silences by themselves: notices to whoever made them, and in the end what they kept back. */
  private createSilenced(): void {
    this.addSql(`
      create table silence_clock (
        org_id uuid not null references organization (id),
        silence_id uuid not null,
        -- of what a silence does by itself, what has been done
        done text[] not null default '{}',
        -- null: nothing is left to do
        due_at timestamptz(3),
        primary key (org_id, silence_id)
      );
      create index silence_clock_due on silence_clock (due_at) where due_at is not null;

      create table silenced_problem (
        org_id uuid not null references organization (id),
        problem_id uuid not null,
        -- the one that lasts longest
        silence_id uuid not null,
        -- the last that it kept back
        event_id uuid not null,
        primary key (org_id, problem_id)
      );
      create index silenced_problem_silence on silenced_problem (org_id, silence_id, problem_id);

      -- A notice about a silence is about no event.
      alter table notification alter column event_id drop not null;
    `);
  }

  /**
   * The group's row is what everybody locks who changes anything about its escalations; `state` is the domain's, the other tables tell the
   * same to those who list, join and wait.
   */
  private createEscalations(): void {
    this.addSql(`
      create table escalation_group (
        org_id uuid not null references organization (id),
        id uuid not null,
        policy_id uuid not null,
        group_key text not null,
        state jsonb not null,
        created_at timestamptz(3) not null,
        -- the instant of the last step: none may be earlier, whichever process's clock it is by
        stepped_at timestamptz(3) not null,
        primary key (org_id, id)
      ) with (fillfactor = 70);
      create unique index escalation_group_key on escalation_group (org_id, policy_id, group_key);

      create table escalation (
        org_id uuid not null references organization (id),
        id uuid not null,
        group_id uuid not null,
        policy_id uuid not null,
        policy_version int not null,
        project_id uuid,
        -- the event that it began with: what its pages tell
        event_id uuid not null,
        subject text not null,
        previous_id uuid,
        status text not null,
        severity text not null,
        -- of the group's state
        version int not null,
        -- what a workflow is known to have seen
        seen_version int not null default 0,
        changed_at timestamptz(3) not null,
        round int not null,
        tier int not null,
        firing int not null,
        due_at timestamptz(3),
        why text,
        opened_at timestamptz(3) not null,
        acknowledged_at timestamptz(3),
        acknowledged_by jsonb,
        resolved_at timestamptz(3),
        resolve_reason text,
        primary key (org_id, id)
      ) with (fillfactor = 70);
      create unique index escalation_open on escalation (org_id, group_id) where status <> 'resolved';
      create index escalation_status on escalation (org_id, status, id);
      create index escalation_policy_of on escalation (org_id, policy_id, id);
      create index escalation_due on escalation (due_at) where due_at is not null;
      create index escalation_unseen on escalation (changed_at) where seen_version < version;

      -- Steps that a change of silences may bring about sooner than they are due.
      create index escalation_waiting on escalation (org_id, id) where why in ('deferred_silence', 'silence_end', 'cooldown_end');

      -- What silences keep from groups, of their states: found by its problem.
      create table escalation_held (
        org_id uuid not null references organization (id),
        group_id uuid not null,
        problem_id uuid not null,
        primary key (org_id, group_id, problem_id)
      );
      create index escalation_held_problem on escalation_held (org_id, problem_id);

      create table escalation_member (
        org_id uuid not null references organization (id),
        escalation_id uuid not null,
        -- of a problem, or of the event that merely occurred
        key uuid not null,
        kind text not null,
        event_id uuid not null,
        severity text not null,
        attached text not null,
        firing boolean not null,
        attached_at timestamptz(3) not null,
        primary key (org_id, escalation_id, key)
      );
      create index escalation_member_key on escalation_member (org_id, key) where firing;
      create index escalation_member_event on escalation_member (org_id, event_id);

      create table escalation_firing (
        org_id uuid not null references organization (id),
        escalation_id uuid not null,
        firing int not null,
        kind text not null check (kind in ('tier', 'fallback')),
        round int not null,
        tier int not null,
        reason text not null,
        targets jsonb not null,
        scheduled_at timestamptz(3) not null,
        fired_at timestamptz(3) not null,
        failing_at timestamptz(3),
        primary key (org_id, escalation_id, firing)
      );

      create table escalation_timeline (
        org_id uuid not null references organization (id),
        escalation_id uuid not null,
        seq bigint generated always as identity,
        at timestamptz(3) not null,
        kind text not null,
        status text,
        round int not null,
        tier int not null,
        firing int not null,
        reason text,
        member_key uuid,
        actor jsonb,
        proof text,
        -- of the message that has ended
        delivery_id uuid,
        audit_entry_id uuid,
        primary key (org_id, escalation_id, seq)
      );

      -- What a command was answered: the same request again gets the same answer, whatever happened since.
      create table escalation_command (
        org_id uuid not null references organization (id),
        escalation_id uuid not null,
        request_id text not null,
        answer jsonb not null,
        created_at timestamptz(3) not null,
        primary key (org_id, escalation_id, request_id)
      );
      create index escalation_command_age on escalation_command (created_at);

      -- Messages of an escalation: the firing is null for those of none.
      alter table delivery add column escalation_id uuid, add column firing int, add column contact_method_id uuid, add column purpose text
        check (purpose in ('page', 'fallback', 'reminder', 'escalation_update', 'mandatory'));
      alter table notification add column escalation_id uuid;
      create index notification_escalation on notification (org_id, escalation_id) where escalation_id is not null;
      -- What became of an escalation, told to those whom a page reached: which page, and what it says.
      alter table delivery add column update_of uuid, add column news jsonb;
      create index delivery_update on delivery (org_id, update_of) where update_of is not null and finished_at is null;
      create unique index delivery_page on delivery (org_id, escalation_id, firing, coalesce(contact_method_id, destination_id))
        where firing is not null;
      -- Whoever is called does not wait behind news that an outage has piled up.
      create index delivery_call_due on delivery (next_attempt_at) where purpose not in ('escalation_update', 'mandatory') and finished_at is null;
      create index delivery_escalation on delivery (org_id, escalation_id) where escalation_id is not null;
      -- Since when it was clear that a page reaches nobody soon, and whether its escalation has taken notice.
      alter table delivery add column failing_at timestamptz(3), add column failing_seen boolean not null default false;
      create index delivery_failing on delivery (failing_at) where failing_at is not null and not failing_seen;
    `);
  }

  /** What the watchdog has raised an alarm about. */
  private createWatchdog(): void {
    this.addSql(`
      -- From when something was overdue for too long until nothing is.
      create table watchdog_episode (
        org_id uuid not null references organization (id),
        event_id uuid not null,
        began_at timestamptz(3) not null,
        ended_at timestamptz(3),
        primary key (org_id, event_id)
      );
      create unique index watchdog_episode_open on watchdog_episode (org_id) where ended_at is null;

      -- One message to one recipient about one instant that an escalation is late for.
      create table watchdog_alarm (
        org_id uuid not null references organization (id),
        id uuid not null,
        escalation_id uuid not null,
        due_at timestamptz(3) not null,
        -- nobody: there is no one to tell
        recipient_kind text not null check (recipient_kind in ('contact', 'channel', 'webhook', 'fallback_email', 'nobody')),
        recipient_id uuid not null,
        -- what a webhook gets
        event_id uuid,
        attempts int not null default 0,
        next_at timestamptz(3),
        sent_at timestamptz(3),
        primary key (org_id, id)
      );
      create unique index watchdog_alarm_once on watchdog_alarm (org_id, escalation_id, due_at, recipient_kind, recipient_id);
      create index watchdog_alarm_age on watchdog_alarm (due_at);
      create index watchdog_alarm_unsent on watchdog_alarm (next_at) where next_at is not null;
    `);
    for (const table of ['watchdog_episode', 'watchdog_alarm'])
      this.addSql(`create policy relay on ${table} to tocsin_relay using (true); grant select on ${table} to tocsin_relay;`);
  }

  /**
   * What rules bundle: per rule and group key one group that is open, which everybody locks who changes it. `state` is the domain's; the
   * members hold what their events said.
   */
  private createNotices(): void {
    this.addSql(`
      create table notice_group (
        org_id uuid not null references organization (id),
        id uuid not null,
        rule_id uuid not null,
        group_key text not null,
        channel_ids uuid[] not null,
        state jsonb not null,
        -- of the plan, and what a workflow is known to have seen of it
        version int not null,
        seen_version int not null default 0,
        due_at timestamptz(3),
        opened_at timestamptz(3) not null,
        closed_at timestamptz(3),
        changed_at timestamptz(3) not null,
        -- when its members were last compared with problems and silences
        synced_at timestamptz(3) not null,
        primary key (org_id, id)
      ) with (fillfactor = 70);
      create unique index notice_group_open on notice_group (org_id, rule_id, group_key) where closed_at is null;
      create index notice_group_due on notice_group (due_at) where due_at is not null;
      create index notice_group_unseen on notice_group (changed_at) where seen_version < version;

      create table notice_group_member (
        org_id uuid not null references organization (id),
        group_id uuid not null,
        -- of a problem, or of the event that merely occurred
        key uuid not null,
        about jsonb not null,
        primary key (org_id, group_id, key)
      );
      create index notice_group_member_key on notice_group_member (org_id, key);

      create table notice (
        org_id uuid not null references organization (id),
        id uuid not null,
        group_id uuid not null,
        rule_id uuid not null,
        tick int not null,
        -- the instant of the tick, not of the sending
        at timestamptz(3) not null,
        reason text not null,
        subject text not null,
        message text not null,
        severity text not null,
        -- the event that stands for it
        event_id uuid not null,
        firing jsonb not null,
        resolved jsonb not null,
        primary key (org_id, id)
      );
      create unique index notice_tick on notice (org_id, group_id, tick);
      -- Which events a notice shows: where people look for what became of one.
      create table notice_event (
        org_id uuid not null references organization (id),
        event_id uuid not null,
        notice_id uuid not null,
        primary key (org_id, event_id, notice_id)
      );
      create index notice_event_notice on notice_event (org_id, notice_id);
      create index notice_group_closed on notice_group (closed_at) where closed_at is not null;
      alter table delivery add column notice_id uuid;
      create unique index delivery_notice on delivery (org_id, notice_id, destination_id) where notice_id is not null;

    `);
    for (const table of ['notice_group', 'notice_group_member', 'notice', 'notice_event'])
      this.addSql(`create policy relay on ${table} to tocsin_relay using (true); grant select, delete on ${table} to tocsin_relay;`);
  }

  /** Links with which a person who was paged acknowledges without signing in. The rows hold no token: it is computed from them. */
  private createLinkTokens(): void {
    this.addSql(`
      create table link_token (
        org_id uuid not null references organization (id),
        id uuid primary key,
        escalation_id uuid not null,
        firing int not null,
        user_id uuid not null,
        action text not null check (action in ('acknowledge')),
        -- of the key that signs it; null: no message with it has been made yet
        kid text,
        expires_at timestamptz(3) not null,
        used_at timestamptz(3)
      );
      create index link_token_age on link_token (expires_at);
      create unique index link_token_page on link_token (org_id, escalation_id, firing, user_id, action);

      -- A link names no organization: this is all that is told before its signature is checked.
      create function link_token_organization(wanted uuid) returns uuid
        language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
          select org_id from link_token where id = wanted
        $$;
      revoke execute on function link_token_organization(uuid) from public;
      grant execute on function link_token_organization(uuid) to tocsin_app;
    `);
  }
}

const tenantTables = [
  'problem',
  'occurrence',
  'silence_clock',
  'silenced_problem',
  'escalation_group',
  'escalation',
  'escalation_held',
  'escalation_member',
  'escalation_firing',
  'escalation_timeline',
  'escalation_command',
  'link_token',
  'watchdog_episode',
  'watchdog_alarm',
  'notice_group',
  'notice_group_member',
  'notice',
  'notice_event',
];

const ownRows = (table: string): string => `
  alter table ${table} enable row level security;
  create policy tenant on ${table} to tocsin_app
    using (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
    with check (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
  grant select, insert, update, delete on ${table} to tocsin_app;
`;
