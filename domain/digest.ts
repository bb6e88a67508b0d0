import { isAtLeast, type Severity } from './severity.ts';

/** Why messages of a person or channel wait for each other: a digest is wanted, it is quiet, or there are too many at once. */
export const windowKinds = ['digest', 'quiet', 'throttle'] as const;
export type WindowKind = (typeof windowKinds)[number];

/** An event that a window took in. */
export interface DigestItem {
  readonly eventId: string;
  readonly type: string;
  readonly subject: string;
  readonly severity: Severity;
  /** Of the project; null: of none. */
  readonly projectName: string | null;
  /** Unix milliseconds. */
  readonly acceptedAt: number;
  /** The problem that it is about; null: it merely occurred. */
  readonly problemId: string | null;
  /** It ends its problem. */
  readonly isEnd: boolean;
}

/** What a digest says of one problem, or of an event that is about none. */
export interface DigestLine {
  readonly state: 'firing' | 'resolved' | 'occurred';
  /** Of the item that says most: the worst, and of equals the last. */
  readonly lead: DigestItem;
  /** Of the first. */
  readonly acceptedAt: number;
  readonly items: number;
}

/** What a digest says, fixed when it is made so that every attempt says the same. */
export interface DigestText {
  readonly subject: string;
  readonly message: string;
  readonly severity: Severity;
  /** The event that stands for it. */
  readonly eventId: string;
  readonly eventType: string;
  /** Lines that there are, also those for which there is no room. */
  readonly total: number;
}

const maxLines = 50;
const maxSubject = 256;

/**
 * One line for each problem, whatever became of it meanwhile, and one for each event that is about none; by project, the worst first, then
 * as they came. What is of no project comes last.
 */
export function composeDigest(items: readonly DigestItem[]): DigestLine[] {
  const byProblem = Map.groupBy(
    items.toSorted((a, b) => a.acceptedAt - b.acceptedAt),
    ({ problemId, eventId }) => problemId ?? `event ${eventId}`,
  );
  return [...byProblem.values()].map(lineOf).toSorted(compareLines);
}

/** @param lines not empty, as `composeDigest` gives them */
export function describeDigest(kind: WindowKind, lines: readonly DigestLine[]): DigestText {
  const open = lines.filter(({ state }) => state !== 'resolved');
  const lead = open.reduce<DigestLine | undefined>(worse, undefined) ?? lines[0];
  if (lead === undefined) throw new Error('A digest says something');
  const others = lines.length === 1 ? '' : ` and ${lines.length - 1} more`;
  const [start, subject] = [prefixes[kind], `${lead.state === 'resolved' ? 'Resolved: ' : ''}${lead.lead.subject}`];
  // What is left out is the end of a long subject, not how many there are besides.
  const room = maxSubject - start.length - others.length;
  return {
    subject: `${start}${clip(subject, room)}${others}`,
    message: listLines(lines),
    severity: lead.state === 'resolved' ? 'info' : lead.lead.severity,
    eventId: lead.lead.eventId,
    eventType: lead.lead.type,
    total: lines.length,
  };
}

const prefixes: Readonly<Record<WindowKind, string>> = {
  digest: 'Digest: ',
  quiet: 'During quiet hours: ',
  throttle: 'Too many at once: ',
};

function lineOf(items: readonly DigestItem[]): DigestLine {
  const [first, last] = [items[0]!, items.at(-1)!];
  const openings = items.filter(({ isEnd }) => !isEnd);
  return {
    state: first.problemId === null ? 'occurred' : last.isEnd ? 'resolved' : 'firing',
    lead: (openings.length === 0 ? items : openings).reduce((one, other) => (isAtLeast(other.severity, one.severity) ? other : one)),
    acceptedAt: first.acceptedAt,
    items: items.length,
  };
}

function compareLines(a: DigestLine, b: DigestLine): number {
  const [left, right] = [a.lead, b.lead];
  if (left.projectName !== right.projectName) {
    if (left.projectName === null || right.projectName === null) return left.projectName === null ? 1 : -1;
    return left.projectName < right.projectName ? -1 : 1;
  }
  if (left.severity !== right.severity) return isAtLeast(left.severity, right.severity) ? -1 : 1;
  return a.acceptedAt - b.acceptedAt;
}

function worse(left: DigestLine | undefined, right: DigestLine): DigestLine {
  return left === undefined || !isAtLeast(left.lead.severity, right.lead.severity) ? right : left;
}

/** Below the names of their projects, where there are any. */
function listLines(lines: readonly DigestLine[]): string {
  const text: string[] = [];
  const shown = lines.slice(0, maxLines);
  const hasProjects = lines.some(({ lead }) => lead.projectName !== null);
  for (const [i, { state, lead }] of shown.entries()) {
    if (hasProjects && (i === 0 || shown[i - 1]!.lead.projectName !== lead.projectName))
      text.push(...(i === 0 ? [] : ['']), `${lead.projectName ?? 'Without a project'}:`);
    text.push(`[${state === 'resolved' ? 'RESOLVED' : lead.severity.toUpperCase()}] ${lead.subject}`);
  }
  if (lines.length > maxLines) text.push(...(hasProjects ? [''] : []), `+${lines.length - maxLines} more`);
  return text.join('\n');
}

/** At a whole code point. */
function clip(text: string, length: number): string {
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, '');
}
