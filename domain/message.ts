import type { AcceptedEvent, EventLink } from './event.ts';
import type { EscalationStatus } from './escalation-state.ts';
import { toWireId } from './id.ts';
import type { Severity } from './severity.ts';

export interface SeverityStyle {
  /** In front of a subject: `[CRITICAL]`. */
  readonly label: string;
  /** `#RRGGBB`. */
  readonly color: string;
}

/** One table for every channel type. */
export const severityStyles: Readonly<Record<Severity, SeverityStyle>> = {
  critical: { label: 'CRITICAL', color: '#D32F2F' },
  high: { label: 'HIGH', color: '#F57C00' },
  medium: { label: 'MEDIUM', color: '#FBC02D' },
  low: { label: 'LOW', color: '#388E3C' },
  info: { label: 'INFO', color: '#1976D2' },
};

export interface MessageField {
  readonly name: string;
  readonly value: string;
}

export interface MessageLink {
  /** http or https. */
  readonly href: string;
  readonly title: string;
}

/**
 * What a channel message is made of: all that templates see, and nothing of the channel's settings.
 * Ids are in their wire form, times RFC 3339. Texts are the producer's, unescaped.
 */
export interface MessageView {
  readonly event: { readonly id: string; readonly type: string };
  readonly subject: string;
  /** Empty when the event has none. */
  readonly message: string;
  readonly severity: Severity;
  readonly severityLabel: string;
  readonly color: string;
  readonly source: string;
  readonly occurredAt: string;
  readonly organization: { readonly id: string; readonly name: string };
  readonly project: { readonly id: string; readonly name: string } | null;
  readonly tenant: string | null;
  readonly fields: readonly MessageField[];
  readonly links: readonly MessageLink[];
  /** The event in the console or API; null when no public address is configured. */
  readonly url: string | null;
  /** The producer's JSON text. */
  readonly data: string | null;
  /** The same for all messages about one problem; see `problemKey`. */
  readonly threadKey: string;
  /** Of a message that an escalation sends. */
  readonly escalation: EscalationPart | null;
}

/** Why an escalation sends a message. */
export const messagePurposes = ['page', 'fallback', 'reminder', 'escalation_update', 'watchdog', 'mandatory'] as const;
export type MessagePurpose = (typeof messagePurposes)[number];

/** Whether the message calls somebody: it goes before all others, alone, and does not wait for a schedule that is made for news. */
export function isCall(purpose: MessagePurpose | null): boolean {
  return purpose !== null && purpose !== 'escalation_update' && purpose !== 'mandatory';
}

/** In which states of its escalation the message may begin: nobody is called any more for what somebody has acknowledged. */
export function mayBegin(purpose: MessagePurpose, status: EscalationStatus): boolean {
  switch (purpose) {
    case 'page':
      return status === 'triggered' || status === 'exhausted';
    case 'fallback':
      return status === 'exhausted';
    case 'reminder':
      return status === 'acknowledged';
    case 'watchdog':
      return status === 'triggered';
    case 'escalation_update':
    case 'mandatory':
      return true;
  }
}

export interface EscalationPart {
  readonly id: string;
  readonly policy: string;
  /** What the message is, for its reader: `Tier 2 is paged`. */
  readonly headline: string;
  readonly tier: number;
  readonly round: number;
  /** As the message tells it; the same at every attempt, whatever became of the escalation since. */
  readonly state: EscalationStatus;
  /** Wire id of the delivery that this one follows: what an e-mail replies to. Null: it tells of something new. */
  readonly replyTo: string | null;
  /** An integration takes what people press below the message. */
  readonly takesPresses: boolean;
  /** Where its reader, and nobody else, acknowledges; null: the channel is shared. */
  readonly acknowledgeUrl: string | null;
}

export interface MessageContext {
  readonly organizationName: string;
  readonly projectName: string | null;
  readonly url: string | null;
  /** From `problemKey`. */
  readonly threadKey: string;
  readonly escalation?: EscalationPart | null;
}

/** The view of an event for any channel. */
export function viewEvent(event: AcceptedEvent, context: MessageContext): MessageView {
  const style = severityStyles[event.severity];
  return {
    event: { id: toWireId('event', event.id), type: event.type },
    subject: event.subject,
    message: event.message ?? '',
    severity: event.severity,
    severityLabel: style.label,
    color: style.color,
    source: event.source,
    occurredAt: new Date(event.occurredAt).toISOString(),
    organization: { id: toWireId('organization', event.organizationId), name: context.organizationName },
    project: event.projectId === null ? null : { id: toWireId('project', event.projectId), name: context.projectName ?? '' },
    tenant: event.tenantId,
    fields: listFields(event, context),
    links: event.links.flatMap(webLink),
    url: context.url,
    data: event.data,
    threadKey: context.threadKey,
    escalation: context.escalation ?? null,
  };
}

/** In order of importance: channels with little room drop them from the end. */
function listFields(event: AcceptedEvent, context: MessageContext): MessageField[] {
  const { resource, actor } = event;
  const fields: Array<[name: string, value: string | null | undefined]> = [
    ['Type', event.type],
    ['Source', event.source],
    ['Project', context.projectName],
    ['Environment', event.environment],
    ['Resource', resource && `${resource.type} ${resource.name ?? resource.id}`],
    ['Actor', actor && (actor.name ?? `${actor.type} ${actor.id}`)],
    ['Tenant', event.tenantId],
    ['Commit', event.gitCommitSha],
    ...Object.entries(event.labels),
  ];
  return fields.flatMap(([name, value]) => (value === null || value === undefined || value === '' ? [] : [{ name, value }]));
}

/** Links are checked at intake; this is the net under it, because a `javascript:` link in a mail would be the receiver's problem. */
function webLink(link: EventLink): MessageLink[] {
  if (!/^https?:\/\//i.test(link.href) || !URL.canParse(link.href)) return [];
  return [{ href: link.href, title: link.title ?? link.rel ?? new URL(link.href).host }];
}

export interface TestMessageInput {
  /** `evt_test_` + something random. */
  readonly id: string;
  readonly nowMs: number;
  readonly channelName: string;
  /** `id` is the UUID. */
  readonly organization: { readonly id: string; readonly name: string };
}

/** What a channel's synchronous test sends. */
export function viewTestMessage({ id, nowMs, channelName, organization }: TestMessageInput): MessageView {
  return {
    event: { id, type: 'channel.test' },
    subject: 'Test message from Tocsin',
    message: `This is a test of the channel "${channelName}". Nothing has happened.`,
    severity: 'info',
    severityLabel: severityStyles.info.label,
    color: severityStyles.info.color,
    source: 'tocsin',
    occurredAt: new Date(nowMs).toISOString(),
    organization: { id: toWireId('organization', organization.id), name: organization.name },
    project: null,
    tenant: null,
    fields: [{ name: 'Channel', value: channelName }],
    links: [],
    url: null,
    data: null,
    threadKey: id,
    escalation: null,
  };
}

export interface CodeMessageInput extends Omit<TestMessageInput, 'channelName'> {
  readonly code: string;
  readonly lifeMinutes: number;
}

/** What asks the reader of an address to prove that they are. */
export function viewCodeMessage({ code, lifeMinutes, ...input }: CodeMessageInput): MessageView {
  return {
    ...viewTestMessage({ ...input, channelName: '' }),
    event: { id: input.id, type: 'contact.verify' },
    subject: `${code} is your code for Tocsin`,
    message: `It proves that messages to this address reach you, for ${lifeMinutes} minutes. If you did not ask for it, do nothing.`,
    fields: [],
  };
}
