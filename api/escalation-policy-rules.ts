import type { EscalationPolicyRow, PolicyDefinition } from '../db/entities/escalation-policy.ts';
import type { Fault } from '../domain/errors.ts';
import type { Target } from '../domain/escalation-policy.ts';
import type { Reference } from './references.ts';

/** What is wrong with a definition as a whole: each of its fields may be right and yet not go together. */
export function definitionFaults({ tiers, calendarId, defer }: PolicyDefinition): Fault[] {
  const lacking = { code: 'calendar_required', detail: 'needs a calendarId' };
  const faults = tiers.flatMap((tier, index) =>
    tier.when !== 'always' && tier.calendarId === null && calendarId === null ? [{ pointer: `/tiers/${index}/when`, ...lacking }] : [],
  );
  return defer !== null && calendarId === null ? [...faults, { pointer: '/defer', ...lacking }] : faults;
}

type Naming = Pick<PolicyDefinition, 'tiers' | 'fallback' | 'calendarId'> & Pick<EscalationPolicyRow, 'ownerUserId'>;

/** All that a policy names, but projects. */
export function referencesOf({ tiers, fallback, calendarId, ownerUserId }: Naming): Reference[] {
  const named = (kind: Reference['kind'], id: string | null | undefined, pointer: string): Reference[] =>
    id ? [{ kind, id, pointer }] : [];
  const targets = (all: readonly Target[], pointer: string): Reference[] =>
    all.map(({ kind, id }, index) => ({ kind, id, pointer: `${pointer}/${index}/id` }));
  return [
    ...named('user', ownerUserId, '/ownerUserId'),
    ...named('calendar', calendarId, '/calendarId'),
    ...tiers.flatMap((tier, index) => [
      ...targets(tier.targets, `/tiers/${index}/targets`),
      ...named('calendar', tier.calendarId, `/tiers/${index}/calendarId`),
    ]),
    ...targets(fallback, '/fallback'),
  ];
}
