import { sha256 } from './hash.ts';

/** Channel types that reach one person at an address of theirs: a message to it goes out through the organization's sender of that type. */
export const contactTypes = ['email'] as const;
export type ContactType = (typeof contactTypes)[number];

const minuteMs = 60_000;
/** How far apart a member's digests may be: all of them divide a day. */
export const digestIntervalsMs: readonly number[] = [5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, 1440].map(
  (minutes) => minutes * minuteMs,
);

export const contactRules = {
  perMember: 20,
  digestIntervalMs: 15 * minuteMs,
  dailyAt: '09:00',
  code: { digits: 6, lifeMs: 10 * minuteMs, tries: 5 },
  /** Codes that one member can have sent, whatever the address: each is a message to somebody who may not want it. */
  sending: { most: 5, windowMs: 60 * minuteMs },
} as const;

/** What is stored of a code. Guesses are few and soon over: it only keeps the code from whoever reads the row meanwhile. */
export function hashContactCode(codeId: string, code: string): Buffer {
  return sha256(`tocsin-contact-code\n${codeId}\n${code}`);
}

export interface CodeFacts {
  readonly expiresAt: number;
  readonly tries: number;
  /** Null: not made yet. */
  readonly codeHash: Uint8Array | null;
}

/** Whether a code can still be given: made, in time, and not guessed at too often. */
export function isCodeLive({ expiresAt, tries, codeHash }: CodeFacts, at: number): boolean {
  return codeHash !== null && at < expiresAt && tries < contactRules.code.tries;
}

/** Milliseconds until another code may be sent; 0: at once. `sentAt` are the instants of those before, in any order. */
export function codeWaitMs(sentAt: readonly number[], at: number): number {
  const { most, windowMs } = contactRules.sending;
  const recent = sentAt.filter((each) => each > at - windowMs).toSorted((left, right) => left - right);
  const blocking = recent.at(-most);
  return blocking === undefined ? 0 : blocking + windowMs - at;
}
