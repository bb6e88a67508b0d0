import { z } from 'zod';
import { defineChannel } from './channel.ts';

/** The bell: written in the intake transaction and delivered with it, so nothing is ever sent. */
export const inAppChannel = defineChannel<Record<never, never>>({
  type: 'in_app',
  settingsSchema: z.strictObject({}),
  secretFields: [],
  validate: () => [],
  secretsOf: () => [],
  render: () => ({ verdict: { outcome: 'delivered' } }),
  classify: () => {
    throw new Error('In-app notifications are not sent');
  },
});
