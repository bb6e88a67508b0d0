import type { DestinationPolicy } from '../../domain/channel.ts';
import type { AcceptedEvent } from '../../domain/event.ts';
import { type EscalationPart, viewEvent, type MessageView } from '../../domain/message.ts';
import type { Severity } from '../../domain/severity.ts';

const eventId = '0199c9f1-b508-7b23-9b88-000000000001';
const organizationId = '0199c9f1-b508-7b23-9b88-000000000002';
const projectId = '0199c9f1-b508-7b23-9b88-000000000003';

/** The delivery of every view. */
export const deliveryId = '01999fa8-d200-7b23-9b88-000000000004';
export const nowMs = Date.parse('2026-10-01T12:00:05.500Z');

/** An event with what must be there and nothing else. */
export function buildEvent(overrides: Partial<AcceptedEvent> = {}): AcceptedEvent {
  return {
    id: eventId,
    organizationId,
    type: 'alert.fired',
    postedType: 'alert.fired',
    category: 'alert',
    feed: 'alert',
    effect: 'open',
    family: 'alert',
    severity: 'critical',
    subject: 'CPU > 95 % on web-1',
    message: null,
    source: 'prometheus',
    projectId: null,
    tenantId: null,
    environment: null,
    gitCommitSha: null,
    resource: null,
    actor: null,
    labels: {},
    links: [],
    data: null,
    audience: null,
    dedupKey: 'auto:1',
    groupKey: null,
    occurredAt: Date.parse('2026-10-01T12:00:00Z'),
    acceptedAt: Date.parse('2026-10-01T12:00:01Z'),
    ...overrides,
  };
}

/** An event with everything an event can have. */
export function buildFullEvent(overrides: Partial<AcceptedEvent> = {}): AcceptedEvent {
  return buildEvent({
    message: 'Load has been above 95 % for 10 minutes.\nRunbook step 1: drain the node.',
    projectId,
    tenantId: 'acme-eu',
    environment: 'production',
    gitCommitSha: '9fceb02d0ae598e95dc970b74767f19372d61af8',
    resource: { type: 'host', id: 'web-1', name: 'web-1.example.com' },
    actor: { type: 'user', id: 'u-17', name: 'Åsa Öberg' },
    labels: { region: 'eu-north-1', team: 'platform' },
    links: [
      { rel: 'runbook', href: 'https://runbooks.example.com/cpu?a=1&b=2', title: 'Runbook' },
      { href: 'https://graphs.example.com/web-1' },
    ],
    data: '{"host":"web-1","value":97.50,"note":"é","big":12345678901234567890}',
    ...overrides,
  });
}

export function viewOf(event: AcceptedEvent): MessageView {
  return viewEvent(event, {
    organizationName: 'Demo organization',
    projectName: event.projectId === null ? null : 'Web shop',
    url: event.projectId === null ? null : 'https://tocsin.example.com/events/evt_1',
    threadKey: 'tocsin:0123456789abcdef0123456789abcdef01234567',
  });
}

export const minimalView = (severity: Severity): MessageView => viewOf(buildEvent({ severity }));
export const maximalView = (severity: Severity): MessageView => viewOf(buildFullEvent({ severity }));

/** Lets everything pass: for tests of rules that are not about addresses. */
export const openPolicy: DestinationPolicy = { checkUrl: () => undefined, checkMailHost: () => undefined, allowsUrl: () => false };

/** A view as an escalation's message has it. */
export function pageView(part: Partial<EscalationPart> = {}): MessageView {
  const escalation: EscalationPart = {
    id: 'esc_01k74z3d88fchsq20000000005',
    policy: 'Platform <critical>',
    headline: 'Tier 2 is paged',
    tier: 2,
    round: 1,
    state: 'triggered',
    replyTo: null,
    takesPresses: true,
    acknowledgeUrl: null,
    ...part,
  };
  return { ...maximalView('high'), escalation };
}
