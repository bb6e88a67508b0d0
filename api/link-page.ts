import type { StoredLink } from '../db/queries/link-token.ts';
import type { LinkPage, ShownEscalation } from './link-layout.ts';
import type { Problem } from './problem.ts';

/** What the pages of a link say. */

/** What the holder of a link that can be used is asked. */
export function askPage(link: StoredLink): LinkPage {
  return {
    status: 200,
    title: 'Acknowledge this escalation?',
    lead: `You are asked as ${link.holderName}. Once you acknowledge, nobody else is paged for it.`,
    escalation: showEscalation(link),
    button: 'Acknowledge',
    note: `This link is yours alone, works once, and until ${writeTime(link.expiresAt)}.`,
  };
}

/** How things stand, when there is nothing to press. `isNews`: the reader has brought it about just now. */
export function settledPage(link: StoredLink, { isNews = false }: { isNews?: boolean } = {}): LinkPage {
  return { status: 200, ...tellState(link, isNews), escalation: showEscalation(link) };
}

function tellState({ status, acknowledgedBy, acknowledgedAt, resolvedAt, usedAt }: StoredLink, isNews: boolean) {
  if (status === 'acknowledged') {
    const byWhom = `${acknowledgedBy === null ? '' : ` by ${acknowledgedBy}`} at ${writeTime(acknowledgedAt ?? usedAt ?? 0)}`;
    return isNews
      ? { title: 'Acknowledged', lead: `Acknowledged${byWhom}. Nobody else is paged for it.` }
      : { title: 'Already acknowledged', lead: `Already acknowledged${byWhom}.` };
  }
  if (status === 'resolved') {
    const at = resolvedAt === null ? '' : ` at ${writeTime(resolvedAt)}`;
    return { title: 'Already resolved', lead: `This escalation was resolved${at}. There is nothing left to do.` };
  }
  return {
    title: 'This link has been used',
    lead: `Already acknowledged with it at ${writeTime(usedAt ?? 0)}. The escalation has gone on since then: its newest message has a link of its own.`,
  };
}

export function refusedPage(link: StoredLink): LinkPage {
  return {
    status: 403,
    title: 'A link is not enough here',
    lead: 'The policy of this escalation wants to know better who acknowledges. Sign in to do it.',
    escalation: showEscalation(link),
  };
}

export const expiredPage: LinkPage = {
  status: 410,
  title: 'This link has expired',
  lead: 'Links work for 72 hours. If the escalation is still open, its newest message has a link that works.',
};

export function failurePage({ status, title, detail }: Pick<Problem, 'status' | 'title' | 'detail'>): LinkPage {
  return { status, title, lead: detail };
}

function showEscalation({ subject, severity, status, policyName, organizationName, snoozedUntil }: StoredLink): ShownEscalation {
  return {
    subject,
    severity,
    status,
    facts: [
      ...(snoozedUntil === null ? [] : [['Until', writeTime(snoozedUntil)] as const]),
      ...(policyName === null ? [] : [['Policy', policyName] as const]),
      ['Organization', organizationName],
    ],
  };
}

/** `21 November 2026, 15:58 UTC`. @param at Unix milliseconds */
function writeTime(at: number): string {
  return `${timeFormat.format(at).replace(' at ', ', ')} UTC`;
}
const timeFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
