import type { WindowKind } from './digest.ts';
import { digestSpanAt, type DigestTimes, fixedSpanAt, type Span } from './digest-window.ts';
import { sha256Hex } from './hash.ts';
import type { PreferenceMode } from './preference.ts';
import { type QuietHours, quietSpanAt } from './quiet-hours.ts';
import { isAtLeast, type Severity } from './severity.ts';

/** What decides when a message goes out that is for one person at one contact method. */
export interface Patience {
  readonly mode: Exclude<PreferenceMode, 'off'>;
  readonly times: DigestTimes;
  readonly quietHours: QuietHours | null;
  /** What is as bad as this waits for no digest. */
  readonly digestBypass: Severity;
}

export const defaultDigestBypass: Severity = 'high';

/** When a message goes out, and with which others. */
export type Wait =
  | { readonly kind: 'none'; readonly reason: 'digest_bypass' | null }
  | { readonly kind: WindowKind; readonly span: Span; readonly intervalMs: number };

/** Digest before quiet hours: what waits for a digest is not held besides; the digest itself may be, when its time comes. */
export function waitOf({ mode, times, quietHours, digestBypass }: Patience, severity: Severity, at: number): Wait {
  const bypasses = isAtLeast(severity, digestBypass);
  if (mode === 'digest' && !bypasses) return { kind: 'digest', span: digestSpanAt(times, at), intervalMs: times.intervalMs };
  const span = heldSpanAt(quietHours, times.timeZone, severity, at);
  if (span !== null) return { kind: 'quiet', span, intervalMs: 0 };
  return { kind: 'none', reason: mode === 'digest' ? 'digest_bypass' : null };
}

/** The quiet hours that hold a message of this severity at `at`; null: none do. */
export function heldSpanAt(quietHours: QuietHours | null, timeZone: string, severity: Severity, at: number): Span | null {
  if (quietHours === null || isAtLeast(severity, quietHours.breakThrough)) return null;
  return quietSpanAt(quietHours, timeZone, at);
}

/** How many messages go to one destination in each window of UTC's grid; those beyond become one. */
export interface ThrottleLimit {
  readonly most: number;
  readonly intervalMs: number;
}

const minuteMs = 60_000;
export const defaultThrottles: Readonly<Record<'contact' | 'channel', ThrottleLimit>> = {
  contact: { most: 10, intervalMs: 10 * minuteMs },
  channel: { most: 60, intervalMs: minuteMs },
};

/** @param sent messages that went to the destination in the window of `at`, before this one */
export function throttleWaitOf({ most, intervalMs }: ThrottleLimit, sent: number, at: number): Wait {
  if (sent < most) return { kind: 'none', reason: null };
  return { kind: 'throttle', span: fixedSpanAt(intervalMs, at), intervalMs };
}

/** Which window a message belongs to. Ids are UUIDs. */
export interface WindowKey {
  readonly organizationId: string;
  /** Null: of a channel of the organization. */
  readonly userId: string | null;
  /** The contact method, or the channel. */
  readonly destinationId: string;
  readonly kind: WindowKind;
  /** 0: of quiet hours. */
  readonly intervalMs: number;
  /** Unix milliseconds. */
  readonly start: number;
}

/**
 * The UUID of a window. It derives from what the window is, so that two who open it at once open the same one. (No version of RFC 9562: it is
 * the first half of a SHA-256.)
 */
export function windowId({ organizationId, userId, destinationId, kind, intervalMs, start }: WindowKey): string {
  const hex = sha256Hex([organizationId, userId ?? '', destinationId, kind, intervalMs, start].join('|'));
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
