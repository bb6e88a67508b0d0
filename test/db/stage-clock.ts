import { jest } from '@jest/globals';

/** The clock of a stage. Its instants are those of simulations, Unix milliseconds; `Date` shows them in another week. */
export interface StageClock {
  /** When simulations begin. */
  origin: number;
  now: () => number;
  set: (at: number) => void;
  /** As the API and the database have it. */
  iso: (at: number) => string;
  /** Of what they tell. */
  instantOf: (date: Date) => number;
  stop: () => void;
}

const day = 86_400_000;
/** Of what reads or waits, only `Date` is not the machine's. */
const real = ['hrtime', 'nextTick', 'performance', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const;
const timers = ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] as const;

/**
 * Takes `Date` over. Simulations happen in some week, and here in the last one that is over: the audit log takes nothing that is yet to come.
 * @param lastsMs the longest of them
 */
export function startStageClock(origin: number, lastsMs = 2 * day): StageClock {
  const shift = Math.floor((Date.now() - lastsMs - origin) / (7 * day)) * 7 * day;
  jest.useFakeTimers({ now: origin + shift, doNotFake: [...real, ...timers] });
  return {
    origin,
    now: () => Date.now() - shift,
    set: (at) => {
      jest.setSystemTime(at + shift);
    },
    iso: (at) => new Date(at + shift).toISOString(),
    instantOf: (date) => date.getTime() - shift,
    stop: () => {
      jest.useRealTimers();
    },
  };
}
