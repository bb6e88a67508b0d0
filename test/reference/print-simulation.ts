import type { EscalationPolicy } from '../../domain/escalation-policy.ts';
import type { SimulationOutcome } from '../../domain/simulation.ts';
import { minute, start, type RandomSimulation } from './random-simulation.ts';

/** `00:35`, and what is left of a minute. */
export function printInstant(at: number): string {
  const iso = new Date(at).toISOString();
  const days = Math.floor((at - start) / (24 * 60 * minute));
  return `${days > 0 ? `${days}d ` : ''}${iso.slice(11, 16)}${iso.slice(16, 23) === ':00.000' ? '' : iso.slice(16, 23)}`;
}

function printPolicy({ id, version, tiers, ...policy }: EscalationPolicy): string {
  const minutes = (duration: number | null) => (duration === null ? '-' : `${duration / minute}m`);
  const settings = [
    `wait ${minutes(policy.groupWaitMs)}`,
    `repeat ${policy.repeat === null ? '-' : `${minutes(policy.repeat.everyMs)} max ${policy.repeat.max}`}`,
    `defer ${policy.defer === null ? '-' : `${policy.defer.maxSeverity} by ${policy.calendarId}`}`,
    `acknowledgement ${minutes(policy.acknowledgementTimeoutMs)}${policy.acknowledgementReminder ? ' reminded' : ''}`,
    `cooldown ${minutes(policy.cooldownMs)} ${policy.cooldownScope}`,
    `hard stop ${minutes(policy.hardStopMs)}`,
    `fallback ${policy.fallback.map(({ id }) => id).join('+') || '-'}`,
    `auto-resolve ${policy.autoResolve}`,
  ];
  const lines = tiers.map(({ targets, timeoutMs, when, calendarId }) => {
    const hours = when === 'always' ? '' : ` while ${calendarId ?? policy.calendarId} is ${when}`;
    return `  ${targets.map(({ id }) => id).join('+')} ${minutes(timeoutMs)}${hours}`;
  });
  return [`policy ${id}@${version}: ${settings.join(', ')}`, ...lines].join('\n');
}

/** For people: what happens, line by line. */
export function printSimulation({ policies, failures, script, silences }: RandomSimulation): string {
  const steps = script.map((step, index) => {
    const { at, kind, ...details } = step;
    const what = kind === 'policy_changed' ? printPolicy(step.policy) : JSON.stringify(details);
    return `  [${index}] ${printInstant(at)} ${kind} ${what}`;
  });
  const mutes = silences.map(({ startsAt, endsAt, keys }) => `  silence ${printInstant(startsAt)} to ${printInstant(endsAt)} of ${keys}`);
  const rejections = Object.entries(failures).map(([id, after]) => `  pages of ${id} are rejected after ${after / 1_000} s`);
  return [...policies.map(printPolicy), ...steps, ...mutes, ...rejections].join('\n');
}

/** Messages, states, refusals: a line each. */
export function printOutcome({ messages, states, refusals }: SimulationOutcome): string {
  const sent = messages.map(({ at, kind, recipientId, round, tier }) => `${printInstant(at)} ${kind} ${recipientId} ${round}.${tier}`);
  const entered = states.map(({ at, state }) => `${printInstant(at)} ${state}`);
  const refused = refusals.map(({ step, code }) => `[${step}] ${code}`);
  return [sent.sort(), entered, refused].map((line) => line.join(', ')).join('\n');
}
