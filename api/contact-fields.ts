import { z } from 'zod';
import type { ContactCodeRow } from '../db/entities/contact-code.ts';
import type { ContactMethodRow } from '../db/entities/contact-method.ts';
import { contactRules, contactTypes, digestIntervalsMs } from '../domain/contact-method.ts';
import type { ContactType } from '../domain/contact-method.ts';
import { formatDuration, parseDuration } from '../domain/duration.ts';
import { toWireId } from '../domain/id.ts';
import { presentedDuration } from './duration.ts';
import { email, presentedId, presentedTime } from './schema.ts';

const digestIntervals = digestIntervalsMs.map(formatDuration);

/** What can be written. */
export const contactFields = {
  channelType: z.enum(contactTypes).meta({ description: 'Types that reach one person.', example: 'email' }),
  address: email,
  page: z.boolean().meta({ description: 'Pages of escalations go here, once it is verified.' }),
  digestInterval: z
    .string()
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== undefined && digestIntervalsMs.includes(ms)) return ms;
      context.addIssue({ code: 'custom', message: `must be one of ${digestIntervals.join(', ')}`, params: { code: 'unknown_value' } });
      return z.NEVER;
    })
    .meta({ description: `How far apart digests are: ${digestIntervals.join(', ')}.`, example: 'PT15M' }),
  dailyAt: z
    .string()
    .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'must be a time from 00:00 to 23:59')
    .meta({ description: "When a digest a day comes, in the member's time zone.", example: '09:00' }),
};

export const shownContact = z
  .strictObject({
    id: presentedId('contact_method'),
    channelType: z.enum(contactTypes),
    address: z.string(),
    page: z.boolean(),
    digestInterval: presentedDuration,
    dailyAt: z.string(),
    login: z.boolean().meta({ description: "The member's own e-mail address: it is verified, and cannot be deleted." }),
    verifiedAt: presentedTime.nullable(),
    verification: z
      .strictObject({
        state: z.enum(['code_sent', 'code_needed', 'no_sender']).meta({
          description:
            '`code_sent`: give it to `/verify`. `code_needed`: none is valid now, see `/send-code`. `no_sender`: the organization has no active channel of this type in `senderChannels`, so no code can be sent.',
        }),
        expiresAt: presentedTime.nullable(),
      })
      .nullable()
      .meta({ description: 'Null when verified.' }),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'ContactMethod' });

/** What is known of how far the verification of addresses has come. */
export interface ContactFacts {
  /** The newest code of each method, by the method's id. */
  readonly codes: ReadonlyMap<string, Pick<ContactCodeRow, 'expiresAt' | 'tries'>>;
  /** Types that have an active sender. */
  readonly senders: { has(type: ContactType): boolean };
  readonly now: Date;
}

/** The allow-list of what leaves the server about a contact method. */
export function presentContact(row: ContactMethodRow, facts: ContactFacts) {
  return {
    id: toWireId('contact_method', row.id),
    channelType: row.channelType,
    address: row.address,
    page: row.page,
    digestInterval: formatDuration(row.digestIntervalMs),
    dailyAt: row.dailyAt,
    login: row.login,
    verifiedAt: row.verifiedAt?.toISOString() ?? null,
    verification: row.verifiedAt ? null : describeVerification(row, facts),
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

function describeVerification({ id, channelType }: ContactMethodRow, { codes, senders, now }: ContactFacts) {
  const code = codes.get(id);
  if (code !== undefined && now < code.expiresAt && code.tries < contactRules.code.tries) {
    return { state: 'code_sent' as const, expiresAt: code.expiresAt.toISOString() };
  }
  return { state: senders.has(channelType) ? ('code_needed' as const) : ('no_sender' as const), expiresAt: null };
}
