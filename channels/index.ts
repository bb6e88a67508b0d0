import { isChannelType, type ChannelType } from '../domain/channel.ts';
import type { ChannelAdapter } from './channel.ts';
import { emailChannel } from './email.ts';
import { inAppChannel } from './in-app.ts';
import { slackChannel } from './slack.ts';
import { webhookChannel } from './webhook.ts';

/** Every channel type there is. A new one is its file, a line here and one in domain/channel.ts, and a fixture folder. */
export const channelAdapters: Readonly<Record<ChannelType, ChannelAdapter>> = {
  in_app: inAppChannel,
  email: emailChannel,
  webhook: webhookChannel,
  slack: slackChannel,
};

/** The adapter of a stored type. @throws when there is none: the row is of another version of Tocsin */
export function findAdapter(type: string): ChannelAdapter {
  if (!isChannelType(type)) throw new Error(`No channel adapter for type ${type}`);
  return channelAdapters[type];
}
