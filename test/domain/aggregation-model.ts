import type { Aggregate, GroupChange, GroupMember, GroupNotice } from '../../domain/aggregation.ts';
import { severities } from '../../domain/severity.ts';

export type TimedChange = GroupChange & { at: number };
type Fired = Omit<GroupMember, 'muted'>;

/**
 * The rules of aggregation said once more, in the slowest way: every tick of the grid runs, on time, and looks at the whole past. The first
 * change is what opens the group. Changes count at the instant they are made, before a tick of the same instant.
 */
export function modelGroup(aggregate: Aggregate, changes: readonly TimedChange[], until: number) {
  const notices: GroupNotice[] = [];
  let closedAt: number | null = null;
  let last: { at: number; members: ReadonlyMap<string, Fired> } | null = null;
  const firstTick = changes[0]!.at + aggregate.waitMs;
  for (let k = 0; firstTick + k * aggregate.intervalMs <= until && closedAt === null; k += 1) {
    const at = firstTick + k * aggregate.intervalMs;
    const past = changes.filter((change) => change.at <= at);
    const since = past.filter((change) => last === null || change.at > last.at);
    const about = (id: string, from: readonly TimedChange[]) =>
      from.filter((change) => (change.kind === 'fired' ? change.member.id : change.id) === id);

    const shownBefore = (id: string) => notices.some(({ firing }) => firing.some((member) => member.id === id));
    const ended = (id: string, how: GroupChange['kind']) => about(id, past).some(({ kind }) => kind === how);
    const isMuted = (id: string) =>
      about(id, past)
        .filter(({ kind }) => kind === 'fired' || kind === 'muted' || kind === 'unmuted')
        .at(-1)?.kind === 'muted';
    const wasUnmuted = (id: string) => {
      // muted at some moment before, and let go since the last notice
      let muted = false;
      return about(id, past).some((change) => {
        const lets = muted && change.kind !== 'muted' && since.includes(change) && (change.kind === 'fired' || change.kind === 'unmuted');
        if (change.kind === 'muted') muted = true;
        if (change.kind === 'fired' || change.kind === 'unmuted') muted = false;
        return lets;
      });
    };

    const members = new Map<string, Fired>();
    for (const change of past) if (change.kind === 'fired') members.set(change.member.id, change.member);
    const present = ({ id, kind, severity }: Fired): GroupMember => ({ id, kind, severity, muted: isMuted(id) });

    const firing = [...members.values()].filter(
      ({ id, kind }) => !ended(id, 'resolved') && !ended(id, 'expired') && (kind === 'problem' || !shownBefore(id)),
    );
    const shown = firing.filter(({ id }) => !isMuted(id));
    const problemsOfLast = [...(last?.members.values() ?? [])].filter(({ kind }) => kind === 'problem');
    const resolved = aggregate.sendResolved ? problemsOfLast.filter(({ id }) => ended(id, 'resolved') && shownBefore(id)) : [];

    const isNew = ({ id, severity }: Fired) => {
      const noticed = last?.members.get(id);
      return noticed === undefined || severities.indexOf(severity) < severities.indexOf(noticed.severity) || wasUnmuted(id);
    };
    const due = aggregate.repeatMs !== null && last !== null && at - last.at >= aggregate.repeatMs;

    const reason: GroupNotice['reason'] | null =
      last === null && shown.length > 0
        ? 'first'
        : last !== null && shown.some(isNew)
          ? 'new'
          : firing.length === 0 && resolved.length > 0
            ? 'all_resolved'
            : resolved.length > 0
              ? 'resolved'
              : due && shown.some(({ kind }) => kind === 'problem')
                ? 'repeat'
                : null;
    if (reason !== null) {
      const ends = resolved.map(({ id }) => present(members.get(id)!));
      notices.push({ tick: k, at, reason, firing: shown.map(present), resolved: ends });
      last = { at, members: new Map(firing.map((member) => [member.id, member])) };
    }
    if (firing.length === 0) closedAt = at;
  }
  return { notices, closedAt };
}
