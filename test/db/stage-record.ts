import type pg from 'pg';
import type { SimulatedMessage, SimulatedState } from '../../domain/simulation.ts';
import type { StageClock } from './stage-clock.ts';
import type { World } from './stage-world.ts';

type Source = { database: pg.Client; clock: StageClock };

/** Every message of an escalation to somebody's address, but those that tell what became of it. */
export async function readMessages({ database, clock }: Source, { organizationId, members }: World): Promise<SimulatedMessage[]> {
  const { rows } = await database.query<Omit<SimulatedMessage, 'at' | 'recipientId'> & { at: Date; userId: string }>(
    `select d.created_at as at, d.purpose as kind, c.user_id as "userId",
            coalesce(f.round, (d.news ->> 'round')::int) as round, greatest(coalesce(f.tier, (d.news ->> 'tier')::int), 1) as tier
       from delivery d join contact_method c on c.id = d.contact_method_id
         left join escalation_firing f on f.org_id = d.org_id and f.escalation_id = d.escalation_id and f.firing = d.firing
       where d.org_id = $1 and d.purpose in ('page', 'fallback', 'reminder') order by d.created_at, d.id`,
    [organizationId],
  );
  const names = new Map([...members].map(([name, { id }]) => [id, name]));
  return rows.map(({ at, kind, userId, round, tier }) => ({ at: clock.instantOf(at), kind, recipientId: names.get(userId)!, round, tier }));
}

/** Every change of state, one escalation after another. */
export async function readStates({ database, clock }: Source, { organizationId }: World): Promise<SimulatedState[]> {
  const { rows } = await database.query<{ at: Date; escalationId: string; state: SimulatedState['state'] }>(
    `select at, escalation_id as "escalationId", status as state from escalation_timeline
       where org_id = $1 and status is not null order by seq`,
    [organizationId],
  );
  return rows
    .filter(({ escalationId, state }, index) => rows[index - 1]?.escalationId !== escalationId || rows[index - 1]!.state !== state)
    .map(({ at, state }) => ({ at: clock.instantOf(at), state }));
}
