import type { EntityManager } from '@mikro-orm/postgresql';
import type { Override, Schedule } from '../../domain/schedule.ts';
import { MemberEntity } from '../entities/member.ts';
import { ScheduleOverrideEntity, type ScheduleOverrideRow } from '../entities/schedule-override.ts';
import { ScheduleEntity, ScheduleVersionEntity } from '../entities/schedule.ts';

/** A schedule with those of its overrides that matter in the time that was asked for. */
export interface PlannedSchedule {
  readonly schedule: Schedule;
  readonly overrides: readonly Override[];
}

/** Unix milliseconds, [from, to). */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Current schedules by id; what is deleted or unknown is missing. Run in the organization. */
export async function readSchedules(em: EntityManager, ids: readonly string[], span: Span): Promise<ReadonlyMap<string, PlannedSchedule>> {
  if (ids.length === 0) return new Map();
  const rows = await em.find(ScheduleEntity, { id: { $in: [...ids] }, deletedAt: null });
  const overrides = await em.find(ScheduleOverrideEntity, { scheduleId: { $in: [...ids] }, deletedAt: null, ...within(span) });
  return new Map(
    rows.map((row) => [
      row.id,
      { schedule: scheduleOf(row), overrides: overrides.filter(({ scheduleId }) => scheduleId === row.id).map(overrideOf) },
    ]),
  );
}

/** A schedule as it was configured at `asOf`; undefined when there was none yet. Run in the organization. */
export async function readScheduleAsOf(em: EntityManager, id: string, asOf: Date, span: Span): Promise<PlannedSchedule | undefined> {
  const [row] = await em.find(ScheduleVersionEntity, { id, updatedAt: { $lte: asOf } }, { orderBy: { version: 'desc' }, limit: 1 });
  if (row === undefined) return undefined;
  const overrides = await em.find(ScheduleOverrideEntity, {
    scheduleId: id,
    createdAt: { $lte: asOf },
    $or: [{ deletedAt: null }, { deletedAt: { $gt: asOf } }],
    ...within(span),
  });
  return { schedule: scheduleOf(row), overrides: overrides.map(overrideOf) };
}

/** Those of the schedules' people who are active members now; run in the organization. */
export async function readActiveUsers(em: EntityManager, plans: Iterable<PlannedSchedule>): Promise<ReadonlySet<string>> {
  const ids = [...new Set([...plans].flatMap(usersOf))];
  if (ids.length === 0) return new Set();
  const members = await em.find(MemberEntity, { id: { $in: ids }, status: 'active', removedAt: null }, { fields: ['id'] });
  return new Set(members.map(({ id }) => id));
}

/** Everyone whom a schedule may put on call. */
export function usersOf({ schedule, overrides }: PlannedSchedule): string[] {
  const rotations = schedule.layers.flatMap((layer) => layer.rotations);
  return [...rotations.flatMap(({ participants }) => participants), ...overrides.map(({ userId }) => userId)];
}

function within({ from, to }: Span) {
  return { startsAt: { $lt: new Date(to) }, endsAt: { $gt: new Date(from) } };
}

function scheduleOf({ id, version, name, timeZone, layers }: Schedule): Schedule {
  return { id, version, name, timeZone, layers };
}

/** The override as the domain has it. */
export function overrideOf(row: ScheduleOverrideRow): Override {
  const { id, kind, userId, startsAt, endsAt, reason } = row;
  return { id, kind, userId, insteadOf: row.insteadOf ?? null, startsAt: startsAt.getTime(), endsAt: endsAt.getTime(), reason };
}
