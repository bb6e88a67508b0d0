import { z } from 'zod';
import { eventTypes, findEventType } from '../domain/event-type.ts';
import { isEventTypePattern } from '../domain/webhook.ts';

const names = eventTypes.map(({ type }) => type);

/** An exact event type (aliases become the canonical name), `alert.*` or `*`. */
export const eventPattern = z
  .string()
  .max(100)
  .transform((text, context) => {
    const canonical = findEventType(text)?.type ?? text;
    if (isEventTypePattern(canonical, names)) return canonical;
    context.addIssue({
      code: 'custom',
      message: 'is neither a known event type nor a pattern that matches one',
      params: { code: 'unknown_event_type' },
    });
    return z.NEVER;
  })
  .meta({ example: 'deployment.failed' });
