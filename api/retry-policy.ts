import { z } from 'zod';
import type { RetryPolicy } from '../domain/retry.ts';
import { webhookRules } from '../domain/webhook.ts';

const { min, max, maxSeconds } = webhookRules.customDelays;

/** When a failed delivery is tried again. */
export const retryPolicy = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.enum(['standard', 'urgent', 'none']) }),
    z.strictObject({
      kind: z.literal('custom'),
      delaysSeconds: z
        .array(z.int().min(0).max(maxSeconds))
        .min(min)
        .max(max)
        .meta({ description: 'Seconds before attempt 1, 2, …: as many attempts as members.' }),
    }),
  ])
  .meta({ id: 'RetryPolicy', example: { kind: 'standard' } }) satisfies z.ZodType<RetryPolicy>;
