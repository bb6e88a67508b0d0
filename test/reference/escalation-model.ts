import { isOpen, nextOpen } from '../../domain/calendar.ts';
import type { EscalationPolicy, Target } from '../../domain/escalation-policy.ts';
import { severities, type Severity } from '../../domain/severity.ts';
import type {
  ScriptCommand,
  ScriptStep,
  SimulatedMessage,
  SimulatedState,
  Simulation,
  SimulationOutcome,
} from '../../domain/simulation.ts';

/** What an escalation does by itself in one state, told from beginning to end. It yields the instant it waits for and may be woken sooner. */
type Program = Generator<number, void>;
/** An occurrence is a problem that no resolve event closes. `kept`: a silence keeps back what there is to tell of it. */
type Problem = { key: string; severity: Severity; open: boolean; occurrence: boolean; kept: boolean };
/** `severity` is what the escalation was told of it; `hidden`: a cooldown attached it, and nobody acknowledged since. */
type Member = { problem: Problem; severity: Severity; hidden: boolean };

const worse = (a: Severity, b: Severity): boolean => severities.indexOf(a) < severities.indexOf(b);
const isFiring = ({ problem }: Member): boolean => problem.open;
/** Equal instants: resolve, acknowledge, other commands, events; timers come after all of them. */
const rank = (step: ScriptStep): number => {
  const name = step.kind === 'command' ? step.command.name : step.kind;
  return name === 'resolve' || name === 'resolved' ? 0 : name === 'acknowledge' ? 1 : name === 'problem' || name === 'occurrence' ? 3 : 2;
};

/**
 * What a simulation comes to, by the words of the specification and not by the code that runs escalations: plain, slow, with a program for
 * each state instead of a table of states and inputs.
 */
export function modelEscalations({ policies, calendars, reach, failures, script, silences, until }: Simulation): SimulationOutcome {
  const outcome: SimulationOutcome = { messages: [], states: [], refusals: [] };
  const versions = [...policies];
  const latest = (id: string): EscalationPolicy => versions.findLast((version) => version.id === id)!;
  let problems: Problem[] = [];
  let now = -Infinity;
  let cooldownEnd = -Infinity;

  // the group's last escalation; before the first, one that is long resolved
  let state: SimulatedState['state'] = 'resolved';
  let members: Member[] = [];
  /** What it opened with, and what runs: another one after a reassign. */
  let [own, policy] = [policies[0]!, policies[0]!];
  /** The round that began last, and the tier that fired last in it; 0: none yet. */
  let [round, tier, repeats, roundStart] = [1, 0, 0, 0];
  let [firedAt, failsAt] = [0, Infinity];
  /** The tier that comes next, from 0. */
  let pending = 0;
  /** The hard stop is counted from T0, later by what was waited for silences, or from the exhaustion. `isBegun`: T0 is settled. */
  let [countedFrom, exhaustedAt, isBegun] = [0, 0, false];
  /** Why a due tier does not fire. */
  let waitsFor: 'hours' | 'silence' | undefined;
  /** While an event is heard: the others of the instant come before what it makes due. */
  let hears = false;
  let acknowledger = '';
  let [program, wake] = [rest(), Infinity];

  const hardStop = (): number => (state === 'exhausted' ? exhaustedAt : countedFrom) + policy.hardStopMs;
  const silenceEnds = ({ key }: Problem): number[] =>
    silences.filter(({ keys, startsAt, endsAt }) => keys.includes(key) && startsAt <= now && now < endsAt).map(({ endsAt }) => endsAt);

  function send(kind: SimulatedMessage['kind'], targets: readonly Target[]): void {
    const recipients = new Set(targets.flatMap((target) => reach(target, now)).map(({ id }) => id));
    for (const recipientId of recipients) outcome.messages.push({ at: now, kind, recipientId, round, tier: Math.max(tier, 1) });
  }

  /** Lets the escalation do what is due. */
  function run(): void {
    const running = program;
    const next = running.next().value ?? Infinity;
    if (program === running) wake = next;
  }

  function enter(entered: SimulatedState['state'], programmed: Program): void {
    if (state !== entered) outcome.states.push({ at: now, state: entered });
    // whoever takes up an escalation after its time gets the time again
    if (entered !== 'exhausted' && countedFrom + policy.hardStopMs <= now) countedFrom = now;
    [state, program, waitsFor] = [entered, programmed, undefined];
    run();
  }

  /** Waits until a tier due at `due` may fire; what it yields is that tier's T as far as it is known. */
  function* reached(due: number): Program {
    while (now < due) yield due;
    for (;;) {
      const calendar = calendars.get(policy.calendarId ?? '');
      const firing = () => members.filter(isFiring);
      const isSilent = () => firing().every(({ problem }) => silenceEnds(problem).length > 0);
      const isMild = (some: Member[]) => policy.defer !== null && !some.some(({ severity }) => worse(severity, policy.defer!.maxSeverity));
      if (firing().length > 0 && isSilent()) {
        const end = Math.min(...firing().flatMap(({ problem }) => silenceEnds(problem)));
        waitsFor = 'silence';
        while (now < end && isSilent()) yield end;
      } else if (calendar !== undefined && isMild(members.some(isFiring) ? firing() : members) && !isOpen(calendar, now)) {
        const opening = nextOpen(calendar, now) ?? Infinity;
        waitsFor = 'hours';
        while (now < opening && isMild(firing())) yield opening;
      } else break;
    }
    waitsFor = undefined;
  }

  /** Fires a tier and says when the next is due: at once when it is outside its hours or reaches nobody. */
  function fire(index: number): number {
    const { targets, when, calendarId, timeoutMs } = policy.tiers[index]!;
    const calendar = calendars.get(calendarId ?? policy.calendarId ?? '');
    const recipients = targets.flatMap((target) => reach(target, now));
    const isOutside = when !== 'always' && calendar !== undefined && isOpen(calendar, now) !== (when === 'open');
    if (isOutside || recipients.length === 0) return now;
    if (!isBegun) [countedFrom, roundStart, isBegun] = [now, now, true];
    [tier, firedAt] = [index + 1, now];
    failsAt = now + Math.max(...recipients.map(({ id }) => failures.get(id)?.rejectedAfterMs ?? Infinity));
    send('page', targets);
    return Math.min(now + timeoutMs, failsAt);
  }

  /** Triggered: tier after tier from `index` on, round after round. `askedAt`: a command wants one now, if need be of a new round. */
  function* climb(index: number, due: number, askedAt = -Infinity): Program {
    for (;;) {
      for (; index < policy.tiers.length; index += 1) {
        pending = index;
        for (const until of reached(due)) {
          askedAt = -Infinity;
          if (!isBegun && waitsFor === 'hours') countedFrom = until;
          yield until;
        }
        if (tier === 0) roundStart = now;
        due = fire(index);
      }
      while (now < due || (hears && tier > 0)) yield due;
      if (askedAt !== now) {
        if (tier === 0 || policy.repeat === null || repeats >= (policy.repeat.max ?? Infinity)) return exhaust();
        due = Math.max(now, roundStart + policy.repeat.everyMs);
        while (now < due) yield due;
        repeats += 1;
      }
      [round, tier, index, askedAt] = [round + 1, 0, 0, -Infinity];
    }
  }

  /** Acknowledged or snoozed. */
  function* hold(end: number, reminderAt = Infinity): Program {
    while (now < Math.min(end, reminderAt)) yield Math.min(end, reminderAt);
    if (now < end) send('reminder', [{ kind: 'user', id: acknowledger }]);
    while (now < end) yield end;
    restart();
  }

  /** Exhausted or resolved. */
  function* rest(): Program {}

  function open(wait: number, problem?: Problem): void {
    members = members.filter((member) => isFiring(member) && member.problem !== problem).map((member) => ({ ...member, hidden: false }));
    if (problem !== undefined) members.push({ problem, severity: problem.severity, hidden: false });
    own = policy = latest(policies[0]!.id);
    [round, tier, repeats, roundStart, countedFrom] = [1, 0, 0, now + wait, now + wait];
    [cooldownEnd, isBegun] = [-Infinity, false];
    enter('triggered', climb(0, now + wait));
  }

  function endCooldown(): void {
    cooldownEnd = -Infinity;
    for (const member of members) member.hidden = false;
  }

  function restart(fromTier = 1): void {
    endCooldown();
    [round, tier, repeats, roundStart, isBegun] = [1, 0, 0, now, true];
    enter('triggered', climb(fromTier - 1, now));
  }

  function acknowledge(actor: string, extend = false): void {
    for (const member of members) member.hidden = false;
    if (state === 'acknowledged' && !extend) return;
    if (state !== 'acknowledged') [cooldownEnd, acknowledger] = [now + own.cooldownMs, actor];
    const timeout = policy.acknowledgementTimeoutMs ?? Infinity;
    const reminder = policy.acknowledgementReminder ? Math.min(5 * 60_000, timeout / 2) : -Infinity;
    enter('acknowledged', hold(now + timeout, now + timeout - reminder));
  }

  function exhaust(): void {
    [exhaustedAt, isBegun] = [now, true];
    enter('exhausted', rest());
    send('fallback', policy.fallback);
  }

  /** After an expiry the next event pages tier 1, whatever the cooldown. */
  function resolve(isExpired = false): void {
    for (const { problem } of members) problem.open = false;
    if (isExpired || own.cooldownScope === 'until_resolved') cooldownEnd = -Infinity;
    enter('resolved', rest());
  }

  /** Brings a problem that is not silenced to the escalation, or opens one. */
  function route(problem: Problem, wait: number): void {
    const isRaised = members.every(({ severity }) => worse(problem.severity, severity));
    const member = members.find((each) => each.problem === problem);
    if (state === 'resolved' && (isRaised || (member === undefined && now >= cooldownEnd))) return open(wait, problem);
    if (member !== undefined) member.severity = problem.severity;
    else members.push({ problem, severity: problem.severity, hidden: now < cooldownEnd });
    const isNew = member === undefined;
    if (state === 'triggered' && waitsFor !== undefined) {
      hears = true;
      run();
      hears = false;
    } else if (state === 'acknowledged' && (isRaised || (isNew && now >= cooldownEnd))) restart();
    else if (state === 'snoozed' && isRaised) restart();
    else if (state === 'exhausted' && (isRaised || isNew)) restart();
  }

  /** Does what a command says; the answer is the code of its refusal. */
  function command(asked: ScriptCommand, actor: string): string | undefined {
    if (state === 'resolved') return ['acknowledge', 'unacknowledge', 'resolve'].includes(asked.name) ? undefined : 'wrong_state';
    switch (asked.name) {
      case 'acknowledge':
        acknowledge(actor, asked.extend);
        break;
      case 'unacknowledge':
        if (state === 'acknowledged') restart();
        break;
      case 'resolve':
        resolve();
        break;
      case 'snooze':
        if (state === 'exhausted') return 'wrong_state';
        if (asked.untilMs >= hardStop()) return 'after_hard_stop';
        enter('snoozed', hold(asked.untilMs));
        break;
      case 'escalate':
        if (asked.expected.round !== round || asked.expected.tier !== tier) return 'tier_mismatch';
        if (asked.toTier !== undefined && asked.toTier > policy.tiers.length) return 'unknown_tier';
        endCooldown();
        if (tier === 0) roundStart = now;
        if (state === 'exhausted') restart(asked.toTier);
        else enter('triggered', climb((asked.toTier ?? tier + 1) - 1, now, now));
        break;
      case 'reassign':
      case 'reassign_targets':
        if (asked.name === 'reassign') policy = latest(asked.policyId);
        else policy = { ...policy, tiers: [{ ...policy.tiers[Math.max(tier, 1) - 1]!, targets: asked.targets, when: 'always' }] };
        restart();
        break;
      case 'rebase': {
        const rebased = versions.find(({ id, version }) => id === policy.id && version === asked.policyVersion);
        if (rebased === undefined) return 'unknown_policy';
        if (rebased === policy) break;
        if (rebased.id === own.id) own = rebased;
        policy = rebased;
        tier = Math.min(tier, policy.tiers.length);
        if (state === 'triggered') {
          const timesOut = firedAt + policy.tiers[Math.max(tier, 1) - 1]!.timeoutMs;
          const due = tier === 0 ? roundStart : failsAt >= now ? Math.min(failsAt, timesOut) : timesOut;
          const next = tier === 0 ? Math.min(pending, policy.tiers.length - 1) : tier;
          [program, wake, waitsFor] = [climb(next, Math.max(now, due)), now, undefined];
        }
      }
    }
    return undefined;
  }

  function apply(step: ScriptStep, index: number): void {
    if (step.kind === 'policy_changed') return void versions.push(step.policy);
    if (step.kind === 'command') {
      const code = command(step.command, step.actor);
      if (code !== undefined) outcome.refusals.push({ step: index, code });
      return;
    }
    const occurrence = step.kind === 'occurrence';
    const known = occurrence ? undefined : problems.find((problem) => problem.key === step.key && problem.open && !problem.occurrence);
    if (step.kind === 'resolved') {
      if (known !== undefined) known.open = false;
      const wasLast = members.some(({ problem }) => problem === known) && !members.some(isFiring);
      if (wasLast && state !== 'resolved' && policy.autoResolve) resolve();
      return;
    }
    if (known !== undefined && !worse(step.severity, known.severity)) return;
    const problem = known ?? { key: step.key, severity: step.severity, open: true, occurrence, kept: false };
    problem.severity = step.severity;
    // in the order in which they were told last
    problems = [...problems.filter((other) => other !== known), problem];
    const wait = problem.kept ? 0 : latest(policies[0]!.id).groupWaitMs;
    problem.kept = silenceEnds(problem).length > 0;
    if (!problem.kept) route(problem, wait);
  }

  function stop(): void {
    if (state === 'resolved' || waitsFor === 'silence' || hardStop() > now) return;
    if (state === 'triggered' || state === 'snoozed') exhaust();
    else resolve(true);
  }

  /** The hard stop outranks the others; of those the escalation's own come first, and what they bring about may end at the hard stop again. */
  function timers(): void {
    stop();
    run();
    const ended = silences.filter(({ endsAt }) => endsAt === now).flatMap(({ keys }) => keys);
    const unmuted = problems.filter((problem) => problem.open && ended.includes(problem.key) && silenceEnds(problem).length === 0);
    for (const problem of unmuted.toSorted((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity))) {
      problem.kept = false;
      if (!problem.occurrence) route(problem, 0);
    }
    // what a cooldown hid is told when it is over, and no silence mutes it
    if (now >= cooldownEnd) {
      const telling = members.filter((member) => isFiring(member) && silenceEnds(member.problem).length === 0);
      if (state === 'acknowledged' && telling.some(({ hidden }) => hidden)) restart();
      else if (state === 'resolved' && telling.length > 0) open(0);
    }
    run();
    stop();
  }

  const steps = script.map((step, index) => ({ step, index })).sort((a, b) => a.step.at - b.step.at || rank(a.step) - rank(b.step));
  for (;;) {
    const stopAt = state === 'resolved' || waitsFor === 'silence' ? Infinity : hardStop();
    const due = [steps[0]?.step.at ?? Infinity, wake, stopAt, cooldownEnd, ...silences.map(({ endsAt }) => endsAt)];
    const next = Math.min(...due.filter((at) => at > now));
    if (next > until) return outcome;
    if (waitsFor === 'silence') countedFrom += next - now;
    now = next;
    while (steps[0]?.step.at === now) {
      const { step, index } = steps.shift()!;
      apply(step, index);
    }
    timers();
  }
}
