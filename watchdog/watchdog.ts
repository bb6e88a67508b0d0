import type { MikroORM } from '@mikro-orm/postgresql';
import { sendAttempt } from '../activities/send.ts';
import type { Destinations } from '../activities/destination.ts';
import { readSequencerLag } from '../db/queries/audit-lag.ts';
import { reportLoop } from '../db/queries/relay.ts';
import { type FactsCache } from '../db/queries/routing-facts.ts';
import { findEpisodes, findLateEscalations, findLateness, lateKinds, type Lateness } from '../db/queries/watchdog.ts';
import { inOrganization } from '../db/tenant.ts';
import { type AlarmMessage, beginLateEpisode, claimAlarms, endLateEpisode, finishAlarm } from '../db/watchdog-alarm.ts';
import { eventBodyOf } from '../db/queries/message.ts';
import type { Egress } from '../egress/guard.ts';
import type { Logger } from '../log.ts';
import { dueLatenessSeconds } from '../metrics.ts';
import type { EscalationStarter } from '../temporal/escalation-starter.ts';

export interface WatchdogOptions {
  /** Pools of `tocsin_relay`, which sees all organizations, and `tocsin_app`. */
  relayOrm: MikroORM;
  orm: MikroORM;
  facts: FactsCache;
  destinations: Pick<Destinations, 'read'>;
  egress: Egress;
  escalations: Pick<EscalationStarter, 'wake'>;
  /** Whether this process is the one that acts: of several, one does. */
  isLeader: () => Promise<boolean>;
  everyMs: number;
  /** What is late by this is told to Temporal again. */
  nudgeAfterMs: number;
  /** What is late by this is told to people, by another way. */
  alarmAfterMs: number;
  /** Asked at most this often, while nothing is late: whoever listens there notices when that ends. */
  heartbeat: { everyMs: number; send: () => Promise<void> } | undefined;
  workerId: string;
  log: Logger;
}

export interface Watchdog {
  /** Looks once, now. */
  look(): Promise<void>;
  stop(): Promise<void>;
}

const maxEscalations = 200;
const attemptsPerMessage = 10;

/**
 * Compares what should have happened by now, by the due times in PostgreSQL, with what did, without Temporal and without a worker. Whatever
 * is late is first told to Temporal again; what stays late is told to people straight from here.
 */
export function startWatchdog(options: WatchdogOptions): Watchdog {
  const { everyMs, heartbeat, log } = options;
  let beatAt = 0;
  let stopped = false;
  let timer: NodeJS.Timeout;
  let round: Promise<void> = Promise.resolve();

  const look = async (): Promise<void> => {
    if (!(await options.isLeader())) return;
    const startedAt = performance.now();
    const found = await inspect(options);
    if (found.late.length === 0 && found.unsequencedMs < options.nudgeAfterMs) {
      if (heartbeat !== undefined && Date.now() - beatAt >= heartbeat.everyMs) {
        beatAt = Date.now();
        await heartbeat.send();
      }
    }
    const fields = { ...found, late: undefined, ...countsOf(found.late), durationMs: Math.round(performance.now() - startedAt) };
    if (found.late.length > 0 || found.unsequencedMs >= options.nudgeAfterMs) log.warn('watchdog', fields);
    else log.debug('watchdog', fields);
    await reportLoop(options.relayOrm.em.fork(), 'watchdog', options.workerId, fields);
  };

  const tick = async (): Promise<void> => look().catch((error: unknown) => log.error('watchdog', { error }));
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      round = tick().finally(schedule);
    }, everyMs);
  };
  round = tick().finally(schedule);

  return {
    look,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await round;
    },
  };
}

interface Found {
  late: Lateness[];
  nudged: number;
  alarmed: number;
  /** How long the oldest audit entry waits for its index. */
  unsequencedMs: number;
}

async function inspect(options: WatchdogOptions): Promise<Found> {
  const { relayOrm, escalations, nudgeAfterMs, alarmAfterMs } = options;
  const late = await findLateness(relayOrm.em.fork(), nudgeAfterMs);
  const { oldestSeconds } = await readSequencerLag(relayOrm.em.fork());
  const worst = (kind: Lateness['kind']) => Math.max(0, ...late.filter((each) => each.kind === kind).map(({ oldestMs }) => oldestMs));
  for (const kind of lateKinds) dueLatenessSeconds.set({ kind }, worst(kind) / 1_000);
  dueLatenessSeconds.set({ kind: 'audit' }, oldestSeconds);

  const overdue = await findLateEscalations(relayOrm.em.fork(), { afterMs: nudgeAfterMs, limit: maxEscalations, untold: false });
  escalations.wake(overdue);
  const alarmed = await raise(
    options,
    late.filter(({ oldestMs }) => oldestMs >= alarmAfterMs),
  );
  return { late, nudged: overdue.length, alarmed, unsequencedMs: Math.round(oldestSeconds * 1_000) };
}

/** @returns how many messages were tried */
async function raise(options: WatchdogOptions, late: readonly Lateness[]): Promise<number> {
  const { relayOrm, alarmAfterMs, log } = options;
  const organizations = Map.groupBy(late, ({ organizationId }) => organizationId);
  for (const organizationId of await findEpisodes(relayOrm.em.fork()))
    if (!organizations.has(organizationId)) await endLateEpisode(options, organizationId, Date.now());
  for (const [organizationId, all] of organizations) await beginLateEpisode(options, organizationId, all, Date.now());
  if (!late.some(({ kind }) => kind === 'escalation')) return 0;

  let tried = 0;
  for (const escalation of await findLateEscalations(relayOrm.em.fork(), { afterMs: alarmAfterMs, limit: maxEscalations, untold: true })) {
    // One that fails must not keep the others from being told.
    try {
      const messages = await claimAlarms(options, escalation, Date.now());
      await Promise.all(messages.map(async (message) => send(options, message)));
      tried += messages.length;
    } catch (error) {
      log.error('watchdog.alarm', { error, organizationId: escalation.organizationId, escalationId: escalation.escalationId });
    }
  }
  return tried;
}

async function send({ orm, destinations, egress, log }: WatchdogOptions, message: AlarmMessage): Promise<void> {
  const { alarm, late, destinationId, address } = message;
  // A webhook gets an event of its own, everybody else what the escalation is about.
  const eventId = alarm.eventId !== null && alarm.recipientKind === 'webhook' ? alarm.eventId : message.eventId;
  const { organizationId, escalationId } = late;
  const destination = await destinations.read(organizationId, destinationId, address);
  const body =
    alarm.recipientKind === 'webhook'
      ? await inOrganization(orm, organizationId, async (em) => eventBodyOf(em, organizationId, eventId))
      : null;
  const { attempt, durationMs } = await sendAttempt({ egress, stopping: new AbortController().signal }, destination, {
    eventId,
    eventType: 'watchdog.late',
    deliveryId: alarm.id,
    attempt: alarm.attempts,
    providerRef: undefined,
    body,
    page: {
      escalationId,
      firing: null,
      purpose: 'watchdog',
      contactMethodId: alarm.recipientKind === 'contact' ? alarm.recipientId : null,
      updateOf: null,
      news: null,
    },
  });
  const { outcome } = attempt.classification;
  const isFinal = outcome === 'delivered' || outcome === 'rejected' || alarm.attempts >= attemptsPerMessage;
  const { statusCode = null, errorCode = null } = attempt.row;
  await finishAlarm({ orm }, message, { outcome, statusCode, errorCode, durationMs, isFinal }, Date.now());
  log.warn('watchdog.alarm', {
    organizationId,
    escalationId,
    destinationId,
    attempt: alarm.attempts,
    outcome,
    statusCode,
    errorCode,
    durationMs,
  });
}

function countsOf(late: readonly Lateness[]): Record<string, number> {
  return Object.fromEntries(
    lateKinds.map((kind) => [kind, late.filter((each) => each.kind === kind).reduce((sum, { count }) => sum + count, 0)]),
  );
}
