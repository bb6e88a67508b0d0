/** Channel types, and what may be a destination. The adapters are in channels/. */

/** One entry per adapter; a new type is added here, in channels/index.ts and as its own file. */
export const channelTypes = ['in_app', 'email', 'webhook', 'slack'] as const;
export type ChannelType = (typeof channelTypes)[number];

/**
 * How a channel type tells what has become of an escalation that it told of: `item`: what is there is changed in place; `reply`: by a message
 * of its own, where the policy lets people have those; `if_allowed`: the same, where the channel's `followUp` allows it as well; `state`: always,
 * for a system reads it.
 */
export const correctionForms: Readonly<Record<ChannelType, 'item' | 'reply' | 'if_allowed' | 'state'>> = {
  in_app: 'item',
  email: 'reply',
  webhook: 'state',
  slack: 'if_allowed',
};

export function isChannelType(text: string): text is ChannelType {
  return (channelTypes as readonly string[]).includes(text);
}

/** Why a URL is not accepted as a destination; at save the API answers these as the code of a fault. */
export type UrlFaultReason =
  | 'invalid_url'
  | 'invalid_scheme'
  | 'https_required'
  | 'user_info'
  | 'fragment'
  | 'url_too_long'
  | 'blocked_port'
  | 'blocked_address'
  | 'unexpected_host';

export interface UrlFault {
  readonly reason: UrlFaultReason;
  readonly detail: string;
}

/** What the process allows as a destination; egress/ implements it, adapters ask it when settings are saved. */
export interface DestinationPolicy {
  /** The fault of an http(s) URL, or undefined. Names are not resolved here: addresses are judged when connecting. */
  checkUrl(text: string): UrlFault | undefined;
  /** The fault of an SMTP server, or undefined. */
  checkMailHost(host: string, port: number): UrlFault | undefined;
  /** The operator's configuration names this very host and port: rules that exist to protect against mistakes do not apply. */
  allowsUrl(url: URL): boolean;
}
