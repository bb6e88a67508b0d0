import { z } from 'zod';
import { formatDuration, leastDuration, parseDuration } from '../domain/duration.ts';
import type { Fault } from '../domain/errors.ts';
import type { Dependencies } from './dependencies.ts';
import { valuesAt } from './validation.ts';

/** An ISO 8601 duration of a fixed length, at most `maxMs`, which becomes milliseconds. */
export function duration(maxMs: number) {
  return z
    .string()
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== undefined && ms <= maxMs) return ms;
      const [code, message] =
        ms === undefined
          ? ['invalid_format', 'must be an ISO 8601 duration such as PT30S, PT10M or P1D']
          : ['too_big', `must be at most ${formatDuration(maxMs)}`];
      context.addIssue({ code: 'custom', message, params: { code } });
      return z.NEVER;
    })
    .meta({ example: 'PT10M' });
}

/** A duration in an answer. */
export const presentedDuration = z.string().meta({ example: 'PT10M' });

/**
 * An `inspect` for durations that must last a minute or more: the operator may lower that (`TOCSIN_MIN_INTERVAL`), so no schema knows it.
 * `stated` has the least milliseconds by the places of the durations: names of members, separated by slashes, with `*` for every element.
 */
export function inspectLeast(stated: Readonly<Record<string, number>>) {
  return async (body: unknown, { minIntervalMs }: Pick<Dependencies, 'minIntervalMs'>): Promise<readonly Fault[]> =>
    Object.entries(stated).flatMap(([place, statedMs]) => {
      const leastMs = leastDuration(statedMs, minIntervalMs);
      return [...valuesAt(body, place.split('/'), '')].flatMap(({ pointer, value }) => {
        const ms = typeof value === 'string' ? parseDuration(value) : undefined;
        if (ms === undefined || ms >= leastMs) return [];
        return [{ pointer, code: 'too_small', detail: `must be at least ${formatDuration(leastMs)}` }];
      });
    });
}
