import { countOutcomes } from '../db/queries/delivery-outcomes.ts';
import { cancelDeliveries } from '../db/queries/destination.ts';
import { findRunMembers, type FinishedAttempt } from '../db/queries/run.ts';
import { appendAudit } from '../db/audit-log.ts';
import { inOrganization } from '../db/tenant.ts';
import { describeFailure, isPageFailing, settleAttempt, type DeliveryState, type SettleInput } from '../domain/delivery.ts';
import { jitterFraction } from '../domain/hash.ts';
import { isCall } from '../domain/message.ts';
import { pagePolicy } from '../domain/retry.ts';
import type { AttemptAnswer, DeliverInput, DeliverResult, RunState } from '../workflows/messages.ts';
import { createAdmission, type Admission } from './admission.ts';
import { auditAttempt, auditCancel } from './delivery-audit.ts';
import type { Destination } from './destination.ts';
import type { AttemptInput, AttemptReport, DeliveryDependencies } from './dependencies.ts';
import type { AttemptRecord, BegunMember } from './run-store.ts';
import { describeMembers, type MemberProgress } from './run-details.ts';
import { sendAttempt, type SentAttempt } from './send.ts';

/** What was begun this long ago and still waits for room is given back instead of sent. */
const sendWithinMs = { fast: 2_000, slow: 10_000 } as const;
/** Answers are recorded together, but none waits longer than this for the slowest of its run. */
const recordEveryMs = 250;
/** Added to the longest send when the database decides that an attempt must be over. */
const graceMs = 15_000;
/** How soon to look again at a delivery that somebody else is attempting. */
const fencedMs = 2_000;
const longestTimeoutMs = 30_000;

export function createDeliveryActivities(deps: DeliveryDependencies) {
  const admissions = new Map<string, Admission>();

  const admissionOf = (destinationId: string): Admission => {
    let admission = admissions.get(destinationId);
    if (admission === undefined) {
      for (const [id, one] of admissions) if (admissions.size > 1_000 && one.isIdle()) admissions.delete(id);
      admission = createAdmission(() => deps.destinations.limitOf(destinationId), Date.now);
      admissions.set(destinationId, admission);
    }
    return admission;
  };

  /**
   * One step of a run: begins what is due, sends it, records the answers. May be repeated at any point: `begin` tells from rows what is
   * still to do, and what a dead worker had begun is closed and given to another run by the relay.
   */
  async function attempt(input: AttemptInput): Promise<AttemptAnswer> {
    const { runId, organizationId, destinationId, lane } = input;
    const admission = admissionOf(destinationId);
    if (lane === 'fast' && !admission.admitsFast()) return { kind: 'slow' };
    const members = await deps.store.begin(organizationId, { runId, destinationId, lane, timeoutMs: longestTimeoutMs + graceMs });
    const begunAt = Date.now();
    const begun = members.filter((member) => member.begun);
    const progress = new Map<string, MemberProgress>(members.map((member) => [member.deliveryId, progressOf(member)]));
    const known = new Set([...(input.open ?? []), ...progress.keys()]);
    const mark = members[0]?.destination ?? null;
    if (begun.length > 0) {
      const destination = await deps.destinations.load(organizationId, mark!);
      await sendAll({ input, begun, begunAt, destination, admission, progress });
    } else if (members.length > 0) {
      await cancelIfUnwanted(input, members, progress);
    }
    deps.onStep(input);
    const left = [...known].filter((id) => !progress.has(id));
    return answerOf([...progress.values()], Date.now(), await endedElsewhere(input, left));
  }

  /** What ended without a step of the run: cancelled by a person, or with its destination. */
  async function endedElsewhere({ organizationId, runId }: DeliverInput, ids: readonly string[]): Promise<DeliverResult> {
    if (ids.length === 0) return noResult;
    return inOrganization(deps.orm, organizationId, async (em) => countOutcomes(em, organizationId, { runId, ids }));
  }

  async function sendAll(work: {
    input: AttemptInput;
    begun: BegunMember[];
    begunAt: number;
    destination: Destination;
    admission: Admission;
    progress: Map<string, MemberProgress>;
  }): Promise<void> {
    const { input, begun, begunAt, destination, admission, progress } = work;
    let unrecorded: Array<{ record: AttemptRecord; report: Omit<AttemptReport, 'state'> }> = [];
    const recording: Array<Promise<void>> = [];
    const record = (): void => {
      if (unrecorded.length === 0) return;
      const ended = unrecorded;
      unrecorded = [];
      const records = ended.map((one) => one.record);
      recording.push(
        deps.store.finish(input.organizationId, records).then(async (states) => {
          for (const { report } of ended) {
            const state = states.get(report.member.deliveryId);
            advance(progress, report.finished, state);
            deps.onAttempt({ ...report, state });
          }
          await tellFailing(input.organizationId, ended);
        }),
      );
    };
    const timer = setInterval(record, recordEveryMs);
    try {
      await Promise.all(
        begun.map(async (member) => {
          const sent = await admission.run(
            async () =>
              Date.now() - begunAt > sendWithinMs[input.lane]
                ? { slow: false, durationMs: 0, attempt: undefined }
                : sendAttempt(deps, destination, { ...member, providerRef: member.providerRef ?? undefined }),
            isCall(member.page?.purpose ?? null),
          );
          unrecorded.push(recordOf(input, destination, member, sent.attempt));
        }),
      );
    } finally {
      clearInterval(timer);
      record();
    }
    await Promise.all(recording);
  }

  /** Somebody else has to be paged, now. */
  async function tellFailing(organizationId: string, ended: ReadonlyArray<{ report: Omit<AttemptReport, 'state'> }>): Promise<void> {
    const failing = ended.filter(({ report }) => report.finished.failing);
    if (failing.length > 0)
      await deps.tellFailing(failing.map(({ report }) => ({ organizationId, escalationId: report.member.page!.escalationId! })));
  }

  function recordOf(input: AttemptInput, destination: Destination, member: BegunMember, sent: SentAttempt | undefined) {
    const finishedAt = Date.now();
    const result: SettleInput['result'] = sent?.classification ?? { outcome: 'not_sent' };
    const settlement = settleAttempt({
      progress: { ...member, acceptedAtMs: member.createdAt },
      result,
      policy: isCall(member.page?.purpose ?? null) ? pagePolicy(destination.kind, destination.retryPolicy) : destination.retryPolicy,
      configuration: deps.retry,
      u: jitterFraction(input.runId, member.attempt),
      nowMs: finishedAt,
    });
    const waits = settlement.state === 'retrying' ? settlement : undefined;
    const next = {
      state: settlement.state,
      schedulePos: settlement.schedulePos,
      attemptCount: sent === undefined ? member.attemptCount - 1 : member.attemptCount,
      interruptions: settlement.interruptions,
      rateLimits: settlement.rateLimits,
      nextAttemptAt: waits?.nextAttemptAtMs ?? null,
    };
    const finished: AttemptRecord['finished'] = {
      ...emptyAttempt,
      ...sent?.row,
      deliveryId: member.deliveryId,
      attempt: member.attempt,
      finishedAt,
      outcome: result.outcome,
      nextDelayMs: waits?.nextDelayMs ?? null,
      scheduleConsumed: settlement.scheduleConsumed,
      next,
      failing: member.page?.purpose === 'page' && isPageFailing(result.outcome, next, finishedAt),
    };
    const disable = sent?.classification.disableDestination;
    const record: AttemptRecord = {
      finished,
      audit: auditAttempt(input, destination, member, { ...finished, message: sent?.message }),
      ofEscalation: member.page !== null && member.page.escalationId !== null,
      disable: disable === undefined ? undefined : { kind: destination.kind, id: destination.id, name: destination.name, reason: disable },
    };
    return { record, report: { input, member, destination, finished, reason: settlement.reason } };
  }

  /** Deliveries whose destination is gone or off, and those that somebody cancelled, end here instead of being sent. */
  async function cancelIfUnwanted(input: AttemptInput, members: BegunMember[], progress: Map<string, MemberProgress>): Promise<void> {
    const { destination } = members[0]!;
    const off = destination === null || destination.deleted || !destination.active;
    const unwanted = members.filter((member) => member.state !== 'in_flight' && (off || member.cancelRequested));
    if (unwanted.length === 0) return;
    await cancel(
      input,
      unwanted.map(({ deliveryId }) => deliveryId),
      off ? 'destination_inactive' : 'cancelled',
    );
    for (const { deliveryId } of unwanted) progress.get(deliveryId)!.state = 'cancelled';
    const pages = unwanted.flatMap(({ page }) => (page?.purpose === 'page' ? [page] : []));
    await deps.tellFailing(pages.map(({ escalationId }) => ({ organizationId: input.organizationId, escalationId: escalationId! })));
  }

  async function cancel(input: DeliverInput, ids: readonly string[], reason: string): Promise<void> {
    await inOrganization(deps.orm, input.organizationId, async (em) => {
      const cancelled = await cancelDeliveries(em, { organizationId: input.organizationId, ids, reason });
      await appendAudit(
        em,
        cancelled.map((delivery) => auditCancel(input, delivery, reason)),
      );
    });
  }

  /** An operator cancelled the workflow: what it still owned ends with it. */
  async function cancelRun(input: DeliverInput): Promise<void> {
    const ids = await inOrganization(deps.orm, input.organizationId, async (em) => findRunMembers(em, input.organizationId, input.runId));
    await cancel(input, ids, 'operator');
  }

  return { attempt, cancelRun };
}

/** An attempt of which nothing is known. */
export const emptyAttempt = {
  durationMs: 0,
  timings: null,
  errorCode: null,
  errorDetail: null,
  statusCode: null,
  remoteAddress: null,
  tlsVersion: null,
  requestHeaders: null,
  requestSha256: null,
  requestBytes: null,
  responseHeaders: null,
  responseBody: null,
  responseEncoding: null,
  responseTruncated: false,
  retryAfterMs: null,
  possibleDuplicate: false,
  providerRef: null,
  failing: false,
} as const;

function progressOf(member: BegunMember): MemberProgress {
  const { deliveryId, eventType, attempt } = member;
  const state: DeliveryState = member.begun ? 'in_flight' : member.state;
  return { deliveryId, eventType, attempt, state, nextAttemptAt: member.nextAttemptAt, failure: null };
}

/** `state` undefined: the relay closed the attempt meanwhile, and the delivery is another run's now. */
function advance(
  progress: Map<string, MemberProgress>,
  { deliveryId, errorCode, statusCode, next }: FinishedAttempt,
  state: DeliveryState | undefined,
): void {
  if (state === undefined) progress.delete(deliveryId);
  else
    Object.assign(progress.get(deliveryId)!, { state, nextAttemptAt: next.nextAttemptAt, failure: describeFailure(errorCode, statusCode) });
}

const noResult: DeliverResult = { delivered: 0, failed: 0, cancelled: 0 };

/**
 * What the workflow does next. It waits for the earliest of its open members; the others are then not due yet.
 * @param ended what ended besides the members
 */
export function answerOf(members: readonly MemberProgress[], now: number, ended: DeliverResult = noResult): AttemptAnswer {
  const count = (state: keyof DeliverResult): number => members.filter((member) => member.state === state).length + ended[state];
  const settled: DeliverResult = { delivered: count('delivered'), failed: count('failed'), cancelled: count('cancelled') };
  const open = members.filter(({ state }) => state !== 'delivered' && state !== 'failed' && state !== 'cancelled');
  if (open.length === 0) return { kind: 'done', ...settled };
  const dueIn = (member: MemberProgress): number =>
    member.state === 'in_flight' || member.nextAttemptAt === null ? fencedMs : Math.max(1, member.nextAttemptAt - now);
  const first = open.reduce((earliest, member) => (dueIn(member) < dueIn(earliest) ? member : earliest));
  const state: RunState = open.some((member) => member.state === 'held')
    ? 'held'
    : open.some((member) => member.state === 'retrying')
      ? 'retrying'
      : 'in_flight';
  const ids = open.map(({ deliveryId }) => deliveryId);
  return { kind: 'wait', ...settled, ms: dueIn(first), state, open: ids, ...describeMembers(first, members) };
}
