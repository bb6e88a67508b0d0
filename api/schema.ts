import { z } from 'zod';
import { fromWireId, toWireId } from '../domain/id.ts';
import type { IdKind } from '../domain/id.ts';

/** Pieces that the schemas of resources are made of. Input pieces turn wire forms into what handlers work with. */

const exampleUuid = '0198c0de-0000-7000-8000-000000000001';

const unstorable = {
  error: 'must not hold control characters or half surrogate pairs',
  params: { code: 'control_character' },
} as const;

/** Neither PostgreSQL nor canonical JSON can hold half a surrogate pair (`Cs`), and PostgreSQL no NUL: what is read must be storable. */
const controlCharacter = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
const controlCharacterOfProse = /(?![\t\n\r])[\p{Cc}\p{Cs}]/u;

/** Whether it is text on one line that can be stored. */
export function isStorable(value: string): boolean {
  return !controlCharacter.test(value);
}

/** An id on the wire, which becomes a UUID. */
export function wireId(kind: IdKind) {
  return z
    .string()
    .transform((text, context) => {
      const uuid = fromWireId(kind, text);
      if (uuid !== undefined) return uuid;
      context.addIssue({ code: 'custom', message: `is not the id of a ${kind.replaceAll('_', ' ')}`, params: { code: 'invalid_id' } });
      return z.NEVER;
    })
    .meta({ example: toWireId(kind, exampleUuid) });
}

/** An id in an answer, already in its wire form. */
export function presentedId(kind: IdKind) {
  return z.string().meta({ example: toWireId(kind, exampleUuid) });
}

/** `{id}` in a path. */
export function idParams(kind: IdKind) {
  return z.object({ id: wireId(kind) });
}

/** A name that people read: 1-100 characters after trimming, on one line. */
export const resourceName = text(1, 100).meta({ example: 'Production alerts' });

/** Text without control characters, trimmed, of `min` to `max` UTF-16 units. */
export function text(min: number, max: number) {
  return z.string().trim().min(min).max(max).refine(isStorable, unstorable);
}

/** Text of several lines: of the control characters only tab and line breaks. */
export function prose(max: number) {
  return z
    .string()
    .max(max)
    .refine((value) => !controlCharacterOfProse.test(value), unstorable);
}

export const email = z
  .string()
  .trim()
  .max(320)
  .pipe(z.email({ error: 'must be an e-mail address' }))
  .meta({ example: 'ada@example.com' });

/** RFC 3339 with any offset, which becomes a Date. */
export const time = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 time' })
  .transform((value) => new Date(value))
  .meta({ example: '2026-01-31T09:30:00.000Z' });

/** RFC 3339 UTC with milliseconds, in an answer. */
export const presentedTime = z.iso.datetime({ precision: 3 }).meta({ example: '2026-01-31T09:30:00.000Z' });

/** A query parameter that takes several values: repeated, or separated by commas. */
export function listOf<T extends z.ZodType<unknown, string>>(item: T) {
  return z
    .union([z.string(), z.array(z.string())])
    .transform((value) => (typeof value === 'string' ? [value] : value).flatMap((each) => each.split(',')).map((each) => each.trim()))
    .pipe(z.array(item).min(1).max(100));
}

/** Every member at most once; order kept. */
export function distinct<T extends z.ZodType>(item: T, { min = 0, max }: { min?: number; max: number }) {
  return z
    .array(item)
    .min(min)
    .max(max)
    .transform((items) => [...new Set(items)]);
}

/** Words of a closed set, each at most once; order kept. */
export function distinctOf<const T extends readonly [string, ...string[]]>(words: T) {
  return distinct(z.enum(words), { max: words.length });
}
