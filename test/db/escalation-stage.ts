import pg from 'pg';
import { createEscalationActivities } from '../../activities/escalation.ts';
import { createFailingPages } from '../../activities/failing-pages.ts';
import { createSilenceActivities } from '../../activities/silence.ts';
import { createFactsCache } from '../../db/queries/routing-facts.ts';
import type { ScriptStep, Simulation, SimulationOutcome } from '../../domain/simulation.ts';
import type { ChangedEscalation } from '../../temporal/escalation-starter.ts';
import { startApi } from '../api/start-api.ts';
import { type Choose, plainly } from '../reference/manner.ts';
import { type StageClock, startStageClock } from './stage-clock.ts';
import { readMessages, readStates } from './stage-record.ts';
import { silenceActs } from './stage-silences.ts';
import { type CommandStep, createTeller, type EventStep, type PolicyStep } from './stage-steps.ts';
import { buildWorld, type Cast, type World } from './stage-world.ts';

/**
 * Plays simulations on the whole system but for Temporal and the way out: what happens comes over the API, what is due is done by the
 * worker's activities, and every message is a row of PostgreSQL. Only the clock is the stage's. That a page is rejected is written to its
 * delivery, as its attempt would.
 */
export interface Stage {
  /** Everything to the simulation's end, in an organization of its own. */
  play: (simulation: Simulation, cast: Cast, choose?: Choose) => Promise<Played>;
  /** An organization in which the simulation can happen, a minute before the origin. */
  prepare: (simulation: Simulation, cast: Cast) => Promise<World>;
  /** What comes by itself up to and including an instant of the simulation. */
  elapseUntil: (world: World, at: number, choose?: Choose) => Promise<void>;
  /** Escalations whose workflow intake told to look again, so far. */
  readonly wakes: ChangedEscalation[];
  readonly database: pg.Client;
  readonly clock: StageClock;
  stop: () => Promise<void>;
}

export interface Played extends SimulationOutcome {
  /** Places in the script of commands that nobody could give, for there was no escalation yet. */
  impossible: number[];
  world: World;
}

/** @param origin when simulations begin, Unix milliseconds */
export async function openStage(origin: number): Promise<Stage> {
  const clock = startStageClock(origin);
  const wakes: ChangedEscalation[] = [];
  const api = await startApi({ deps: { minIntervalMs: 1 }, escalations: { wake: (changed) => void wakes.push(...changed) } });
  const database = new pg.Client({ connectionString: api.databaseUrl });
  await database.connect();
  const deps = {
    orm: api.orm,
    facts: createFactsCache(),
    starter: { offer: () => {} },
    escalations: { wake: () => {} },
    groups: { wake: () => {} },
    log: api.deps.log,
    namespace: 'default',
  };
  const work = { ...createEscalationActivities(deps), ...createSilenceActivities(deps), tellFailing: createFailingPages(deps) };
  const teller = createTeller({ database, clock, work });

  async function prepare(simulation: Simulation, cast: Cast): Promise<World> {
    clock.set(origin - 60_000);
    return buildWorld({ api, database, clock }, simulation, cast);
  }

  async function play(simulation: Simulation, cast: Cast, choose: Choose = plainly): Promise<Played> {
    const world = await prepare(simulation, cast);
    const refusals: Played['refusals'] = [];
    const impossible: Played['impossible'] = [];
    const happenings = [
      ...silenceActs(world, { clock, choose }),
      ...momentsOf(simulation.script).map((moment) => ({ at: moment.at, run: async () => happen(moment) })),
    ];
    const happen = async (moment: Moment): Promise<void> => {
      if (moment.kind === 'policy') return teller.changePolicy(world, moment.step);
      if (moment.kind === 'events') return teller.postEvents(world, moment.steps, choose);
      const result = await teller.giveCommand(world, moment.step, choose);
      if (result === 'impossible') impossible.push(moment.index);
      else if (result !== 'done') refusals.push({ step: moment.index, code: result.refused });
    };
    // of one instant they stay in their order: the configuration is what it is before anything happens
    for (const { at, run } of happenings.sort((a, b) => a.at - b.at)) {
      await elapseUntil(world, at - 1, choose);
      clock.set(at);
      await run();
    }
    await elapseUntil(world, simulation.until, choose);
    const source = { database, clock };
    return { messages: await readMessages(source, world), states: await readStates(source, world), refusals, impossible, world };
  }

  /** In their order: pages that fail, then what is due. Whatever comes by itself may come twice. */
  async function elapseUntil(world: World, limit: number, choose: Choose = plainly): Promise<void> {
    const { organizationId } = world;
    for (;;) {
      const failing = await nextFailure(world);
      const due = await nextDue(world, choose);
      const at = Math.min(failing?.at ?? Infinity, due?.at ?? Infinity);
      if (at > limit) return;
      clock.set(Math.max(clock.now(), at));
      const twice = choose(`due ${at}`, false, true);
      if (failing?.at === at) {
        const { ids, escalationId } = failing;
        await database.query(`update delivery set failing_at = $2 where id = any($1::uuid[])`, [ids, clock.iso(at)]);
        await work.tellFailing([{ organizationId, escalationId }]);
        if (twice) await work.tellFailing([{ organizationId, escalationId }]);
      } else if (due!.kind === 'escalation') {
        await work.stepEscalation({ organizationId, escalationId: due!.id });
        if (twice) await work.stepEscalation({ organizationId, escalationId: due!.id });
      } else {
        await work.advanceSilence({ organizationId, silenceId: due!.id });
        if (twice) await work.advanceSilence({ organizationId, silenceId: due!.id });
      }
    }
  }

  /** The pages that fail next, of those that are going to. */
  async function nextFailure({ simulation: { failures }, organizationId, members }: World) {
    if (failures.size === 0) return undefined;
    const { rows } = await database.query<{ ids: string[]; escalationId: string; at: Date }>(
      `select array_agg(id) as ids, escalation_id as "escalationId", at from (
         select d.id, d.escalation_id, d.created_at + f.after_ms * interval '1 ms' as at
           from delivery d join contact_method c on c.id = d.contact_method_id
             join unnest($2::uuid[], $3::int[]) as f (user_id, after_ms) on f.user_id = c.user_id
           where d.org_id = $1 and d.purpose = 'page' and d.failing_at is null) as failing
         group by escalation_id, at order by at limit 1`,
      [organizationId, [...failures.keys()].map((name) => members.get(name)!.id), [...failures.values()].map((one) => one.rejectedAfterMs)],
    );
    const [next] = rows;
    return next && { ...next, at: clock.instantOf(next.at) };
  }

  /**
   * Of what is due at one instant any may come first: nobody knows which workflow wakes first.
   * @throws when an escalation that should page somebody waits for nothing
   */
  async function nextDue({ organizationId }: World, choose: Choose) {
    const { rows } = await database.query<{ kind: 'escalation' | 'silence'; id: string; at: Date | null }>(
      `select * from (
         select 'escalation' as kind, id, due_at as at from escalation where org_id = $1 and (due_at is not null or status = 'triggered')
         union all select 'silence', silence_id, due_at from silence_clock where org_id = $1 and due_at is not null) as due
       order by at nulls first, kind, id`,
      [organizationId],
    );
    const [first] = rows;
    if (first === undefined) return undefined;
    if (first.at === null) throw new Error('An escalation is triggered and nothing is due: nobody would ever be paged.');
    const at = clock.instantOf(first.at);
    const together = rows.filter((row) => row.at?.getTime() === first.at?.getTime());
    return { ...choose(`first ${at}`, first, together.at(-1)!), at };
  }

  return {
    play,
    prepare,
    elapseUntil,
    wakes,
    database,
    clock,
    async stop() {
      clock.stop();
      await database.end();
      await api.stop();
    },
  };
}

/** What happens at once: a command, an edit, or events of which none waits for another. */
type Moment = { at: number } & (
  | { kind: 'policy'; step: PolicyStep }
  | { kind: 'command'; step: CommandStep; index: number }
  | { kind: 'events'; steps: EventStep[] }
);

function momentsOf(script: readonly ScriptStep[]): Moment[] {
  const moments: Moment[] = [];
  const steps = script.map((step, index) => ({ step, index }));
  for (const { step, index } of steps.sort((a, b) => a.step.at - b.step.at || rank(a.step) - rank(b.step))) {
    const { at } = step;
    const last = moments.at(-1);
    if (step.kind === 'policy_changed') moments.push({ at, kind: 'policy', step });
    else if (step.kind === 'command') moments.push({ at, kind: 'command', step, index });
    else if (last?.kind === 'events' && last.at === at) last.steps.push(step);
    else moments.push({ at, kind: 'events', steps: [step] });
  }
  return moments;
}

/** Of equal instants, as the specification orders them. */
function rank(step: ScriptStep): number {
  if (step.kind === 'policy_changed') return 0;
  if (step.kind === 'resolved') return 1;
  if (step.kind !== 'command') return 4;
  return step.command.name === 'resolve' ? 1 : step.command.name === 'acknowledge' ? 2 : 3;
}
