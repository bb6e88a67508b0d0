import { z } from 'zod';
import { findEventType } from '../domain/event-type.ts';
import { findSeverity, severities } from '../domain/severity.ts';
import { distinct, isStorable, prose, text, time, wireId } from './schema.ts';

/** How far ahead of our clock an event may claim to have happened. */
const maxAheadMs = 5 * 60_000;

const shortText = text(1, 256);

const eventType = z
  .string()
  .transform((spelling, context) => {
    const type = findEventType(spelling);
    if (type === undefined) {
      context.addIssue({
        code: 'custom',
        message: 'is not a known event type; GET /api/v2/event-types lists them',
        params: { code: 'unknown_event_type' },
      });
      return z.NEVER;
    }
    if (type.own) {
      context.addIssue({ code: 'custom', message: 'is posted by Tocsin only', params: { code: 'reserved_event_type' } });
      return z.NEVER;
    }
    return { type, spelling };
  })
  .meta({ example: 'deployment.failed' });

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

/** By code points, so that a letter outside the basic plane counts once. */
const subject = z
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
const message = prose(maxMessageBytes).refine((value) => Buffer.byteLength(value) <= maxMessageBytes, {
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

export type PostedEvent = z.output<typeof postedEvent>;

/** Checks what needs the clock. */
export function isTooFarAhead(posted: PostedEvent, now: Date): boolean {
  return posted.occurredAt !== undefined && posted.occurredAt.getTime() > now.getTime() + maxAheadMs;
}
