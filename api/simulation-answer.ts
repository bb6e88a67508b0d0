import { z } from 'zod';
import { formatDuration } from '../domain/duration.ts';
import { acknowledgementProofs } from '../domain/escalation-policy.ts';
import type { EscalationConfiguration } from '../domain/recipients.ts';
import { toWireId } from '../domain/id.ts';
import { severities } from '../domain/severity.ts';
import type { PolicySimulation, SimulatedEntry, SimulatedEscalation, SimulatedPage } from '../domain/simulation-plan.ts';
import { escalationStates } from './escalation-fields.ts';
import { presentedDuration } from './duration.ts';
import { presentedId, presentedTime } from './schema.ts';
import { presentRecipientId } from './simulation-fields.ts';

const number = z.int().meta({ description: 'From 1, in the order of their opening.' });
const eventPlace = z.int().meta({ description: 'The place in `events`, from 0.' });
export const messageKinds = ['page', 'fallback', 'reminder'] as const;

const message = z
  .strictObject({
    at: presentedTime,
    after: presentedDuration.meta({ description: 'Since the start.' }),
    kind: z.enum(messageKinds),
    escalation: number,
    round: z.int(),
    tier: z.int(),
    firing: z.int().nullable().meta({ description: 'Null: of none.' }),
    recipient: z.strictObject({
      kind: z.enum(['contact', 'channel', 'webhook']),
      id: z.string(),
      channelType: z.string(),
      userId: presentedId('user').nullable().meta({ description: 'Whose contact method it is.' }),
      name: z.string().nullable().meta({ description: 'What the user, channel or webhook is called.' }),
    }),
    rejectedAt: presentedTime.nullable().meta({ description: 'Null: it arrives.' }),
  })
  .meta({ id: 'SimulatedMessage' });

const timelineEntry = z
  .strictObject({
    seq: z.int(),
    at: presentedTime,
    escalation: number.nullable(),
    kind: z.string(),
    state: z.enum(escalationStates).nullable().meta({ description: 'Afterwards.' }),
    round: z.int(),
    tier: z.int(),
    firing: z.int().meta({ description: 'Firings so far.' }),
    reason: z.string().nullable(),
    event: eventPlace.nullable(),
    actor: z
      .strictObject({ type: z.literal('user'), id: presentedId('user') })
      .nullable()
      .meta({ description: 'Null: Tocsin itself, or an event.' }),
    proof: z.enum(acknowledgementProofs).nullable(),
  })
  .meta({ id: 'SimulatedTimelineEntry', description: 'As `GET /escalations/{id}/timeline` would tell it.' });

export const simulationAnswer = z
  .strictObject({
    policyVersion: z.int().nullable().meta({ description: 'Null: of no saved policy.' }),
    decisions: z.array(
      z.strictObject({
        event: eventPlace,
        at: presentedTime,
        verdict: z.enum(['escalate', 'suppress', 'resolve', 'none']),
        reason: z.string(),
      }),
    ),
    timeline: z.array(timelineEntry),
    messages: z.array(message).meta({
      description:
        'Pages, fallbacks and reminders outside the app, in order; what is said later of a page that was sent is not among them.',
    }),
    final: z.strictObject({
      at: presentedTime,
      steps: z.int().meta({ description: 'Of at most 10,000.' }),
      escalations: z.array(
        z.strictObject({
          escalation: number,
          state: z.enum(escalationStates),
          severity: z.enum(severities),
          round: z.int(),
          tier: z.int(),
          dueAt: presentedTime.nullable(),
          why: z.string().nullable(),
          openedAt: presentedTime,
          events: z.array(eventPlace),
        }),
      ),
    }),
  })
  .meta({ id: 'Simulation' });

/** What is known of recipients besides their ids. */
export interface RecipientNames {
  readonly configuration: Pick<EscalationConfiguration, 'pageMethods' | 'activeChannels'>;
  /** By UUID of a member, channel or webhook. */
  readonly names: ReadonlyMap<string, string>;
}

/** Those that `RecipientNames` has to tell the names of. */
export function namedIds({ messages }: Pick<PolicySimulation, 'messages'>): string[] {
  return [...new Set(messages.map(({ recipient: { id, userId } }) => userId ?? id))];
}

export function presentSimulation(
  { verdicts, timeline, messages, final, steps }: PolicySimulation,
  { startAt, endAt, policyVersion, ...named }: RecipientNames & { startAt: number; endAt: number; policyVersion: number | null },
) {
  return {
    policyVersion,
    decisions: verdicts.map(({ at, ...verdict }) => ({ ...verdict, at: iso(at) })),
    timeline: timeline.map(presentEntry),
    messages: messages.map((one) => presentMessage(one, startAt, named)),
    final: { at: iso(endAt), steps, escalations: final.map(presentFinal) },
  };
}

function presentMessage({ at, recipient, rejectedAt, ...told }: SimulatedPage, startAt: number, { configuration, names }: RecipientNames) {
  const { kind, id, userId } = recipient;
  const channelType =
    kind === 'webhook'
      ? 'webhook'
      : kind === 'channel'
        ? configuration.activeChannels.get(id)
        : configuration.pageMethods.get(userId ?? '')?.find((method) => method.id === id)?.channelType;
  return {
    ...told,
    at: iso(at),
    after: formatDuration(at - startAt),
    recipient: {
      kind,
      id: presentRecipientId(recipient),
      channelType: channelType ?? 'unknown',
      userId: userId && toWireId('user', userId),
      name: names.get(userId ?? id) ?? null,
    },
    rejectedAt: rejectedAt === null ? null : iso(rejectedAt),
  };
}

function presentEntry({ at, status, by, ...entry }: SimulatedEntry, index: number) {
  return {
    seq: index + 1,
    ...entry,
    at: iso(at),
    state: status,
    actor: by === null || by.userId === null ? null : { type: 'user' as const, id: toWireId('user', by.userId) },
    proof: by?.proof ?? null,
  };
}

function presentFinal({ status, dueAt, openedAt, ...known }: SimulatedEscalation) {
  return { ...known, state: status, dueAt: dueAt === null ? null : iso(dueAt), openedAt: iso(openedAt) };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
