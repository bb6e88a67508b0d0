import type { ScriptSilence } from '../../domain/simulation.ts';
import type { Choose } from '../reference/manner.ts';
import type { StageClock } from './stage-clock.ts';
import type { World } from './stage-world.ts';

/** What somebody does to the configuration, before anything else that happens at the instant. */
export interface Act {
  at: number;
  run: () => Promise<void>;
}

const hour = 3_600_000;

/** Somebody silences the keys as the simulation says: known long before or not, ended in time or sooner than was meant. */
export function silenceActs(world: World, { clock, choose }: { clock: StageClock; choose: Choose }): Act[] {
  return world.simulation.silences.flatMap((silence) => actsOf(silence, { world, clock, choose }));
}

function actsOf(
  { startsAt, endsAt, keys }: ScriptSilence,
  { world: { make, call }, clock, choose }: { world: World; clock: StageClock; choose: Choose },
): Act[] {
  const before = clock.origin - 60_000;
  let id = '';
  const begin = (at: number, end: number): Act => ({
    at,
    run: async () => {
      const matchers = [{ key: 'label.key', op: 'in', value: keys }];
      const start = at === startsAt ? {} : { startsAt: clock.iso(startsAt) };
      id = await make('/silences', { matchers, ...start, endsAt: clock.iso(end), comment: 'Quiet' });
    },
  });
  const change = (at: number, method: 'PATCH' | 'DELETE', body?: object): Act => ({
    at,
    run: async () => {
      const { status, text } = await call(method, `/silences/${id}`, body === undefined ? {} : { body });
      if (status >= 300) throw new Error(text);
    },
  });
  const middle = (startsAt + endsAt) / 2;
  const ends = { endsAt: clock.iso(endsAt) };
  switch (choose(`silence ${keys.join()} ${startsAt} ${endsAt}`, 'ahead', 'at_its_start', 'shortened', 'lengthened', 'cancelled')) {
    case 'ahead':
      return [begin(before, endsAt)];
    case 'at_its_start':
      return [begin(startsAt, endsAt)];
    case 'shortened':
      return [begin(before, endsAt + hour), change(middle, 'PATCH', ends)];
    case 'lengthened':
      return [begin(before, middle), change((startsAt + middle) / 2, 'PATCH', ends)];
    case 'cancelled':
      return [begin(startsAt, endsAt + hour), change(endsAt, 'DELETE')];
  }
}
