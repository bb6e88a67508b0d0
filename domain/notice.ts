import type { GroupMember, NoticeReason } from './aggregation.ts';
import type { MatchedEvent } from './rule.ts';
import { isAtLeast, type Severity } from './severity.ts';

/** What is kept of the event that brought a member: for silences, and for what notices say. */
export interface NoticeSubject extends MatchedEvent {
  eventId: string;
  subject: string;
  /** When it joined its group. Unix milliseconds. */
  joinedAt: number;
}

/** A member as a notice shows it. */
export interface ShownMember {
  eventId: string;
  type: string;
  subject: string;
  severity: Severity;
}

/** What a notice says, fixed when it is made so that every attempt says the same. */
export interface NoticeText {
  subject: string;
  message: string;
  severity: Severity;
  /** The event that stands for it: the worst that fires, else the first that ended. */
  eventId: string;
  eventType: string;
}

/** Lines of one kind; of more a notice says how many. */
const maxLines = 50;
const maxSubject = 256;

/** @param firing and `resolved`: not both empty */
export function describeNotice(reason: NoticeReason, firing: readonly ShownMember[], resolved: readonly ShownMember[]): NoticeText {
  const lead = firing.reduce<ShownMember | undefined>(worse, undefined) ?? resolved[0];
  if (lead === undefined) throw new Error('A notice shows somebody');
  const message = [
    ...list(firing),
    ...(resolved.length === 0 ? [] : [...(firing.length === 0 ? [] : ['']), 'Resolved:', ...list(resolved)]),
  ];
  return {
    subject: clip(subjectOf(reason, firing, resolved, lead)),
    message: message.join('\n'),
    severity: firing.length === 0 ? 'info' : lead.severity,
    eventId: lead.eventId,
    eventType: lead.type,
  };
}

function worse(left: ShownMember | undefined, right: ShownMember): ShownMember {
  return left === undefined || !isAtLeast(left.severity, right.severity) ? right : left;
}

function subjectOf(reason: NoticeReason, firing: readonly ShownMember[], resolved: readonly ShownMember[], lead: ShownMember): string {
  if (firing.length === 0) return resolved.length === 1 ? `Resolved: ${lead.subject}` : `Resolved: all ${resolved.length}, ${lead.subject}`;
  const others = firing.length === 1 ? '' : ` and ${firing.length - 1} more`;
  const still = reason === 'repeat' ? 'Still: ' : reason === 'resolved' ? `${resolved.length} resolved, still: ` : '';
  return `${still}${lead.subject}${others}`;
}

function list(members: readonly ShownMember[]): string[] {
  const lines = members.slice(0, maxLines).map(({ severity, subject }) => `[${severity.toUpperCase()}] ${subject}`);
  return members.length > maxLines ? [...lines, `+${members.length - maxLines} more`] : lines;
}

/** At a whole code point. */
function clip(text: string): string {
  return text.slice(0, maxSubject).replace(/[\ud800-\udbff]$/, '');
}

export function shownMember({ severity }: Pick<GroupMember, 'severity'>, { eventId, type, subject }: NoticeSubject): ShownMember {
  return { eventId, type, subject, severity };
}
