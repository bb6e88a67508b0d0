import type { WindowKind } from './digest.ts';
import { waitOf } from './message-window.ts';
import type { Contact, PeopleFacts } from './personal-routing.ts';
import { choosePreference, type PreferenceChoice, type PreferredEvent, type Reach } from './preference.ts';
import { defaultTimeZone, layersOf } from './preference-set.ts';

/** A contact method of whoever asks, whether or not anything goes there. */
export interface AskedContact extends Contact {
  readonly verified: boolean;
}

/** How one person hears of an event by one way, and why. */
export interface PreferenceExplanation {
  readonly reach: Reach;
  readonly mode: PreferenceChoice['mode'];
  readonly reason: PreferenceChoice['reason'] | 'contact_unverified' | 'channel_disabled' | 'digest_bypass';
  /** What decides, or would if anything went there. */
  readonly winner: PreferenceChoice['winner'];
  readonly losers: PreferenceChoice['losers'];
  /** What a message waits for, until an instant; null: for nothing. */
  readonly wait: { readonly kind: WindowKind; readonly until: number } | null;
}

/** As `decidePeople` decides about an event of the instant `at`, by every way that the person has: also those by which nothing goes. */
export function explainPreferences(
  event: PreferredEvent,
  { userId, contacts, at }: { userId: string; contacts: readonly AskedContact[]; at: number },
  facts: Pick<PeopleFacts, 'preferences' | 'senders' | 'digestBypass'>,
): PreferenceExplanation[] {
  const layers = layersOf(facts.preferences, userId, event.projectId);
  const { timeZone = defaultTimeZone, quietHours = null } = facts.preferences.users.get(userId) ?? {};
  const inApp: Reach = { channelType: 'in_app', contactMethodId: null };
  return [
    { reach: inApp, ...choosePreference(event, inApp, layers), wait: null },
    ...contacts.map(({ id, channelType, digestIntervalMs, dailyAt, verified }): PreferenceExplanation => {
      const reach: Reach = { channelType, contactMethodId: id };
      const choice = choosePreference(event, reach, layers);
      const { mode, winner, losers } = choice;
      if (!verified) return { reach, mode: 'off', reason: 'contact_unverified', winner, losers, wait: null };
      if (!facts.senders.has(channelType)) return { reach, mode: 'off', reason: 'channel_disabled', winner, losers, wait: null };
      if (mode === 'off') return { reach, ...choice, wait: null };
      const times = { intervalMs: digestIntervalMs, timeZone, dailyAt };
      const wait = waitOf({ mode, times, quietHours, digestBypass: facts.digestBypass }, event.severity, at);
      if (wait.kind === 'none') return { reach, ...choice, reason: wait.reason ?? choice.reason, wait: null };
      return { reach, ...choice, wait: { kind: wait.kind, until: wait.span.end } };
    }),
  ];
}
