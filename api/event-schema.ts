import { z } from 'zod';
import type { EventTypes } from '../domain/custom-event-type.ts';
import { DomainError, type Fault } from '../domain/errors.ts';
import type { EventType } from '../domain/event-type.ts';
import { isJsonObject } from '../domain/foreign-event.ts';
import type { RawValue } from '../domain/raw-json.ts';
import { findSeverity, severities } from '../domain/severity.ts';
import { distinct, isStorable, prose, text, time, wireId } from './schema.ts';
import { toFaults } from './validation.ts';

/** How far ahead of our clock an event may claim to have happened. */
const maxAheadMs = 5 * 60_000;
const maxDataBytes = 256 * 1024;
const maxDataDepth = 32;

const shortText = text(1, 256);

/** Which types there are is the organization's: `validateEvent`. */
const eventType = z.string().meta({ example: 'deployment.failed', description: 'GET /event-types lists them; aliases are taken.' });

const severity = z
  .string()
  .transform((word, context) => {
    const found = findSeverity(word);
    if (found !== undefined) return found;
    context.addIssue({
      code: 'custom',
      message: `must be one of ${severities.join(', ')}, or a known synonym`,
      params: { code: 'unknown_severity' },
    });
    return z.NEVER;
  })
  .meta({ example: 'high' });

/** One line. By code points, so that a letter outside the basic plane counts once. */
export const subject = z
  .string()
  .refine((value) => value.length > 0 && value.length <= 512 && Array.from(value).length <= 256, {
    error: 'must have 1 to 256 characters',
    params: { code: 'out_of_range' },
  })
  .refine(isStorable, {
    error: 'must not hold control characters',
    params: { code: 'control_character' },
  });

const dedupKey = prose(512).refine((value) => value.length > 0 && Buffer.byteLength(value) <= 512, {
  error: 'must have 1 to 512 bytes',
  params: { code: 'out_of_range' },
});

const maxMessageBytes = 8_192;
/** Several lines. */
export const message = prose(maxMessageBytes).refine((value) => Buffer.byteLength(value) <= maxMessageBytes, {
  error: `must have at most ${maxMessageBytes} bytes`,
  params: { code: 'too_big' },
});

const link = z.strictObject({
  rel: shortText.optional(),
  href: z
    .url({ protocol: /^https?$/, error: 'must be an http or https address' })
    .max(2048)
    .refine(isStorable, { error: 'must be an http or https address' }),
  title: shortText.optional(),
});

const labels = z
  .record(text(1, 64), prose(256))
  .refine((value) => Object.keys(value).length <= 32, { error: 'must have at most 32 labels', params: { code: 'too_big' } });

/** `POST /events`, and each member of a batch. */
export const postedEvent = z
  .strictObject({
    type: eventType,
    severity: severity.optional(),
    subject: subject.optional(),
    message: message.optional(),
    source: shortText.optional(),
    projectId: wireId('project').optional(),
    tenantId: text(1, 128).optional(),
    environment: shortText.optional(),
    gitCommitSha: z
      .string()
      .regex(/^[0-9a-fA-F]{7,64}$/, { error: 'must be 7 to 64 hexadecimal digits' })
      .toLowerCase()
      .optional(),
    resource: z.strictObject({ type: text(1, 64), id: shortText, name: shortText.optional() }).optional(),
    actor: z.strictObject({ type: text(1, 64), id: shortText, name: shortText.optional() }).optional(),
    labels: labels.optional(),
    links: z.array(link).max(10).optional(),
    /** Any JSON: it was parsed already, and what is kept is its text. */
    data: z
      .unknown()
      .optional()
      .meta({ description: 'Any JSON value, at most 256 KiB and 32 levels deep. Number text and key order reach the receiver as posted.' }),
    dedupKey: dedupKey.optional(),
    groupKey: dedupKey.optional(),
    occurredAt: time.optional(),
    audience: z.strictObject({ userIds: distinct(wireId('user'), { min: 1, max: 100 }) }).optional(),
  })
  .meta({
    example: {
      type: 'deployment.failed',
      severity: 'high',
      subject: 'api-platform 2.0.6 failed in production',
      environment: 'production',
      resource: { type: 'deployment', id: 'api-platform' },
      data: { version: '2.0.6', step: 'migrate' },
    },
  });

/** A valid event, with what its type means. */
export interface PostedEvent extends Omit<z.output<typeof postedEvent>, 'type'> {
  type: EventType;
  /** The type as the producer spelled it. */
  spelling: string;
}

export interface EventFacts {
  types: Pick<EventTypes, 'find'>;
  /** The event's `data` as it was posted. */
  data: RawValue | undefined;
  now: Date;
}

/** @returns the event, or every fault that it has. @throws `payload_too_large` */
export function validateEvent(value: unknown, { types, data, now }: EventFacts): { posted: PostedEvent } | { faults: Fault[] } {
  const parsed = postedEvent.safeParse(value, { reportInput: true });
  if (data !== undefined && Buffer.byteLength(data.text) > maxDataBytes) {
    throw new DomainError('payload_too_large', `data has more than ${maxDataBytes} bytes.`);
  }
  const faults = parsed.success ? [] : parsed.error.issues.flatMap((issue) => toFaults(issue, ''));
  const spelling = isJsonObject(value) && typeof value['type'] === 'string' ? value['type'] : undefined;
  const type = spelling === undefined ? undefined : types.find(spelling);
  if (spelling !== undefined && type === undefined) {
    const detail = 'is not a known event type; GET /api/v2/event-types lists them';
    faults.push({ pointer: '/type', code: 'unknown_event_type', detail });
  }
  if (type?.own === true) faults.push({ pointer: '/type', code: 'reserved_event_type', detail: 'is posted by Tocsin only' });
  const occurredAt = parsed.success || !isJsonObject(value) ? parsed.data?.occurredAt : time.safeParse(value['occurredAt']).data;
  if (occurredAt !== undefined && occurredAt.getTime() > now.getTime() + maxAheadMs)
    faults.push({ pointer: '/occurredAt', code: 'out_of_range', detail: 'must not be more than 5 minutes ahead' });
  if (data !== undefined && data.depth > maxDataDepth)
    faults.push({ pointer: '/data', code: 'too_deep', detail: `must not be nested more than ${maxDataDepth} deep` });
  if (faults.length > 0 || !parsed.success || type === undefined || spelling === undefined) return { faults };
  return { posted: { ...parsed.data, type, spelling } };
}
