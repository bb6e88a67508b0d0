import { z } from 'zod';
import { readSystemHealth } from '../db/queries/system-health.ts';
import { endpoint } from './endpoint.ts';
import { presentedTime } from './schema.ts';

const state = z.enum(['ok', 'late', 'down', 'unknown']);

const health = z
  .strictObject({
    status: z.enum(['ok', 'degraded']),
    postgres: z.strictObject({ state }),
    temporal: z.strictObject({ state }),
    workers: z.strictObject({ state, count: z.int().meta({ description: 'Processes whose lease lives.' }) }),
    deliveries: z.strictObject({
      state,
      open: z.int(),
      oldestPendingSeconds: z
        .number()
        .nullable()
        .meta({ description: 'How long the oldest due delivery of this organization has waited.' }),
    }),
    loops: z
      .record(
        z.string(),
        z.strictObject({ state, lastRunAt: presentedTime, ageSeconds: z.number(), detail: z.record(z.string(), z.unknown()) }),
      )
      .meta({ description: 'The last round of each background loop.' }),
  })
  .meta({ id: 'SystemHealth' });

/** A due delivery that waits longer than this is stuck. */
const stuckSeconds = 60;
/** Loops that run all the time; the others run on a schedule of an hour. */
const steadyLoops = new Set(['relay', 'sequencer']);
const lateAfterSeconds = { steady: 30, scheduled: 2 * 3600 };

const readHealth = endpoint({
  name: 'system.health',
  method: 'get',
  path: '/system/health',
  tag: 'Operations',
  summary: 'Whether everything that should run does',
  permission: 'monitoring.view',
  responses: { 200: { description: 'The state of each part.', schema: health } },
  handler: async ({ em, principal, now, deps }) => {
    const [{ temporal }, facts] = await Promise.all([deps.readiness(), readSystemHealth(em, principal.organizationId)]);
    const parts = {
      postgres: { state: 'ok' as const },
      temporal: { state: temporal === 'ok' ? ('ok' as const) : ('down' as const) },
      workers: { state: facts.liveWorkers > 0 ? ('ok' as const) : ('down' as const), count: facts.liveWorkers },
      deliveries: {
        state: (facts.oldestPendingSeconds ?? 0) > stuckSeconds ? ('late' as const) : ('ok' as const),
        open: facts.openDeliveries,
        oldestPendingSeconds: facts.oldestPendingSeconds,
      },
    };
    const loops = facts.loops.map(({ name, lastRunAt, detail }) => {
      const ageSeconds = Math.max(0, (now.getTime() - lastRunAt.getTime()) / 1000);
      const limit = steadyLoops.has(name) ? lateAfterSeconds.steady : lateAfterSeconds.scheduled;
      return [
        name,
        { state: ageSeconds > limit ? ('late' as const) : ('ok' as const), lastRunAt: lastRunAt.toISOString(), ageSeconds, detail },
      ] as const;
    });
    const states = [...Object.values(parts), ...loops.map(([, loop]) => loop)].map((part) => part.state);
    const status = states.every((each) => each === 'ok') ? 'ok' : 'degraded';
    return { body: { status, ...parts, loops: Object.fromEntries(loops) } };
  },
});

export const systemEndpoints = [readHealth];
