import { z } from 'zod';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { formatDuration } from '../domain/duration.ts';
import { validationFailed } from '../domain/errors.ts';
import { fromWireId, type IdKind, toWireId } from '../domain/id.ts';
import type { PlannedCommand, SimulatedCommand, SimulationPlan } from '../domain/simulation-plan.ts';
import type { SimulatedEvent } from '../domain/simulation-problems.ts';
import { duration } from './duration.ts';
import { draftEvent } from './event-drafts.ts';
import { postedEvent } from './event-schema.ts';
import type { Reference } from './references.ts';
import { time } from './schema.ts';
import { actor, after, longestMs, presentActor } from './simulation-actors.ts';

const dayMs = 86_400_000;
const mostEvents = 500;
const mostActors = 200;

const event = postedEvent
  .pick({
    type: true,
    severity: true,
    subject: true,
    source: true,
    projectId: true,
    tenantId: true,
    environment: true,
    resource: true,
    labels: true,
    dedupKey: true,
    groupKey: true,
  })
  .extend({ after })
  .transform(({ after: afterMs, ...posted }) => ({ afterMs, posted }))
  .meta({ id: 'SimulatedEvent', description: 'As `POST /events` takes it, as far as escalations look at it.' });

/** Exactly what production would make of it. Throws `validation_failed` when there is no such type. */
function simulatedEvent(
  { type: spelling, ...posted }: z.output<typeof event>['posted'],
  { types, index }: { types: EventTypes; index: number },
): SimulatedEvent {
  const found = types.find(spelling);
  if (found === undefined || found.own) {
    const fault = found === undefined ? { code: 'unknown_event_type', detail: 'is not a known event type' } : reserved;
    throw validationFailed([{ pointer: `/events/${index}/type`, ...fault }]);
  }
  const draft = draftEvent({ ...posted, type: found, spelling }, undefined, new Date(0));
  const { type, category, severity, subject, effect, family, projectId, tenantId, environment, source, resource, labels } = draft;
  const { dedupKey, groupKey } = draft;
  const known = { type, category, severity, subject, effect, family, projectId, tenantId, environment, source, resource, labels };
  return { ...known, dedupKey, groupKey, hasExplicitDedupKey: posted.dedupKey !== undefined };
}

const reserved = { code: 'reserved_event_type', detail: 'is posted by Tocsin only' } as const;

const recipientKinds: Readonly<Record<SimulationPlan['rejections'][number]['kind'], IdKind>> = {
  contact: 'contact_method',
  channel: 'channel',
  webhook: 'webhook',
};

const rejection = z.union([
  z.literal('rejected'),
  z.strictObject({ rejectedAfter: duration(dayMs) }).meta({ description: 'Since the message was sent; `rejected`: at once.' }),
]);

const deliveries = z
  .union([z.literal('delivered'), z.record(z.string(), rejection)])
  .transform((given, context): SimulationPlan['rejections'] => {
    if (given === 'delivered') return [];
    return Object.entries(given).flatMap(([text, how]) => {
      const found = readRecipient(text);
      if (found !== undefined) return [{ ...found, afterMs: how === 'rejected' ? 0 : how.rejectedAfter }];
      const message = 'is not the id of a contact method, channel or webhook';
      context.addIssue({ code: 'custom', path: [text], message, params: { code: 'invalid_id' } });
      return [];
    });
  })
  .meta({
    description: '`delivered`: all messages arrive. Else who does not get theirs, by id of a contact method, channel or webhook.',
    example: { [toWireId('contact_method', '0198c0de-0000-7000-8000-000000000001')]: 'rejected' },
  });

/** A contact method, channel or webhook by its id on the wire. */
export function readRecipient(text: string): Pick<SimulationPlan['rejections'][number], 'kind' | 'id'> | undefined {
  for (const kind of ['contact', 'channel', 'webhook'] as const) {
    const id = fromWireId(recipientKinds[kind], text);
    if (id !== undefined) return { kind, id };
  }
  return undefined;
}

export function presentRecipientId({
  kind,
  id,
}: SimulationPlan['rejections'][number] | { kind: 'contact' | 'channel' | 'webhook'; id: string }) {
  return toWireId(recipientKinds[kind], id);
}

/** What is to be simulated. */
export const planFields = {
  start: time.meta({ description: 'Schedules, calendars and silences are asked at this time and those after it.' }),
  horizon: duration(longestMs)
    .refine((ms) => ms > 0, { error: 'must not be empty', params: { code: 'too_small' } })
    .meta({
      description: 'How long it is looked at, at most P30D.',
      example: 'PT2H',
    }),
  events: z.array(event).min(1).max(mostEvents),
  actors: z.array(actor).max(mostActors).default([]).meta({ description: 'What people do.' }),
  deliveries: deliveries.prefault('delivered'),
};

/** For the object that holds them: an actor's event must be there. */
export function checkActors(
  { events, actors }: { events: readonly unknown[]; actors: readonly PlannedCommand[] },
  context: z.RefinementCtx,
): void {
  for (const [index, { event: about }] of actors.entries()) {
    if (about < events.length) continue;
    const params = { code: 'unknown_event' };
    context.addIssue({ code: 'custom', path: ['actors', index, 'event'], message: 'is the place of no event', params });
  }
}

export type PlanInput = z.output<z.ZodObject<typeof planFields>>;

/** @param types the organization's */
export function planOf({ start, horizon, events, actors, deliveries: rejections }: PlanInput, types: EventTypes): SimulationPlan {
  const simulated = events.map(({ afterMs, posted }, index) => ({ afterMs, event: simulatedEvent(posted, { types, index }) }));
  return { startAt: start.getTime(), horizonMs: horizon, events: simulated, actors, rejections };
}

/** All that a plan names, but projects. */
export function planReferences({ actors, rejections }: SimulationPlan): Reference[] {
  return [
    ...actors.flatMap(({ userId, command }, index): Reference[] => [
      { kind: 'user', id: userId, pointer: `/actors/${index}/as` },
      ...(command.name === 'reassign' ? reassigned(command.to, `/actors/${index}`) : []),
    ]),
    ...rejections.map(({ kind, id }) => ({
      kind: kind === 'contact' ? ('contact_method' as const) : kind,
      id,
      pointer: `/deliveries/${presentRecipientId({ kind, id })}`,
    })),
  ];
}

function reassigned(to: Extract<SimulatedCommand, { name: 'reassign' }>['to'], pointer: string): Reference[] {
  if ('policyId' in to) return [{ kind: 'policy', id: to.policyId, pointer: `${pointer}/policyId` }];
  return to.targets.map(({ kind, id }, at) => ({ kind, id, pointer: `${pointer}/targets/${at}/id` }));
}

/** The plan as a body would give it. */
export function presentPlan({ startAt, horizonMs, events, actors, rejections }: SimulationPlan) {
  return {
    start: new Date(startAt).toISOString(),
    horizon: formatDuration(horizonMs),
    events: events.map(({ afterMs, event: planned }) => ({ after: formatDuration(afterMs), ...presentEvent(planned) })),
    actors: actors.map(presentActor),
    deliveries:
      rejections.length === 0
        ? ('delivered' as const)
        : Object.fromEntries(
            rejections.map(({ afterMs, ...recipient }) => [
              presentRecipientId(recipient),
              afterMs === 0 ? ('rejected' as const) : { rejectedAfter: formatDuration(afterMs) },
            ]),
          ),
  };
}

function presentEvent({ category: _c, effect: _e, family: _f, hasExplicitDedupKey, projectId, ...planned }: SimulatedEvent) {
  const { dedupKey, ...given } = planned;
  const known = { ...given, projectId: projectId && toWireId('project', projectId), ...(hasExplicitDedupKey ? { dedupKey } : {}) };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null));
}
