import { z } from 'zod';
import type { CoverageCause, CoverageGap } from '../domain/coverage.ts';
import { readInOrganization } from '../db/tenant.ts';
import { toWireId } from '../domain/id.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { findPolicy, policyParams } from './escalation-policies.ts';
import { presentTarget } from './escalation-policy-fields.ts';
import { evaluatePolicy, readFacts } from './escalation-policy-warnings.ts';
import { presentedId, presentedTime } from './schema.ts';

/** More are only counted: whoever repairs the first ones asks again. */
const mostShown = 500;

const reasons = [
  'gap',
  'inactive_user',
  'no_page_method',
  'inactive_channel',
  'inactive_webhook',
  'unknown_target',
  'outside_hours',
] as const;

const cause = z.strictObject({
  tier: z.int().meta({ description: 'From 1.' }),
  reason: z.enum(reasons),
  target: z.strictObject({ kind: z.string(), id: z.string() }).nullable(),
  userId: presentedId('user').nullable().meta({ description: 'Who cannot be reached, of a user or somebody on call.' }),
  calendarId: presentedId('calendar').nullable().meta({ description: 'Of `outside_hours`: what keeps the tier from firing.' }),
});

const gaps = z.strictObject({
  count: z.int(),
  data: z
    .array(z.strictObject({ start: presentedTime, end: presentedTime, because: z.array(cause) }))
    .meta({ description: `The first ${mostShown}.` }),
});

function presentGaps(all: readonly CoverageGap[]) {
  const data = all.slice(0, mostShown).map(({ because, ...range }) => ({ ...presentRange(range), because: because.map(presentCause) }));
  return { count: all.length, data };
}

function presentRange({ start, end }: { start: number; end: number }) {
  return { start: new Date(start).toISOString(), end: new Date(end).toISOString() };
}

function presentCause({ tier, reason, target, userId, calendarId }: CoverageCause) {
  return {
    tier,
    reason,
    target: target && presentTarget(target),
    userId: userId && toWireId('user', userId),
    calendarId: calendarId && toWireId('calendar', calendarId),
  };
}

const readCoverage = ownTransactionEndpoint({
  name: 'escalation_policy.coverage',
  method: 'get',
  path: '/escalation-policies/{id}/coverage',
  tag: 'Escalation policies',
  summary: 'When a page would reach nobody, and why',
  description:
    'From now on, as schedules, calendars and addresses are now; evaluated from change to change, so no gap is too short to be found.',
  permission: 'monitoring.view',
  params: policyParams,
  query: z.strictObject({ weeks: z.coerce.number().int().min(1).max(104).default(52) }),
  responses: {
    200: {
      description: 'All gaps.',
      schema: z
        .strictObject({
          from: presentedTime,
          to: presentedTime,
          reachesNobody: z.boolean().meta({ description: 'Nobody in all that time, the fallback included.' }),
          tiers: z.array(gaps).meta({ description: 'In the order of the tiers.' }),
          overall: gaps.meta({ description: 'Where no tier reaches anybody.' }),
          alone: z
            .strictObject({
              count: z.int(),
              data: z.array(z.strictObject({ start: presentedTime, end: presentedTime, userId: presentedId('user') })),
            })
            .meta({ description: 'Where all tiers together reach one person.' }),
        })
        .meta({ id: 'Coverage' }),
    },
  },
  handler: async ({ principal: { organizationId }, input: { params, query }, now, deps }) => {
    const looking = { from: now.getTime(), ...query };
    const { definition, facts } = await readInOrganization(deps.orm, organizationId, async (em) => {
      const found = await findPolicy(em, organizationId, params.id);
      return { definition: found.definition, facts: await readFacts(em, organizationId, found.definition, looking) };
    });
    const { coverage, reachesNobody } = await evaluatePolicy(definition, facts, looking);
    return {
      body: {
        from: new Date(coverage.from).toISOString(),
        to: new Date(coverage.to).toISOString(),
        reachesNobody,
        tiers: coverage.tiers.map(presentGaps),
        overall: presentGaps(coverage.overall),
        alone: {
          count: coverage.alone.length,
          data: coverage.alone
            .slice(0, mostShown)
            .map(({ userId, ...range }) => ({ ...presentRange(range), userId: toWireId('user', userId) })),
        },
      },
    };
  },
});

export const policyCoverageEndpoints = [readCoverage];
