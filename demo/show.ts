/** What an answer of the API looks like to people. Every line stands for something the API said. */
import type { Attempt, Decision, Delivery, EventTrace } from './client.ts';
import { bold, cyan, dim, print, word } from './print.ts';

export type Names = ReadonlyMap<string, string>;

/** `pipeline (subscribed)`; what is not sent says so. */
export function describeDecision({ target, verdict, reason, winner = null, losers = [] }: Decision, names: Names): string {
  const who = target.id === null ? target.kind : (names.get(target.id) ?? target.id);
  const because = [reason, ...nameRules(winner, names), ...losers.map((loser) => `also by ${nameRules(loser, names)[0] ?? loser}`)];
  return `${verdict === 'send' ? who : `${word(verdict)} ${who}`} ${dim(`(${because.join(', ')})`)}`;
}

/** The rule that a reference such as `rule:rul_…@3` names; webhooks decide for themselves, and need no name. */
function nameRules(reference: string | null, names: Names): string[] {
  const id = /^rule:(.+)@\d+$/.exec(reference ?? '')?.[1];
  return id === undefined ? [] : [`rule "${names.get(id) ?? id}"`];
}

/** One line per attempt, with its time from the first. */
export function showAttempts(attempts: readonly Attempt[], indent = '    '): void {
  const first = Date.parse(attempts[0]?.startedAt ?? '');
  for (const { number, trigger, startedAt, durationMs, outcome, statusCode, errorCode, nextDelayMs } of attempts) {
    const at = `+${((Date.parse(startedAt) - first) / 1_000).toFixed(3)} s`;
    const what = [word(outcome ?? 'unfinished'), statusCode, errorCode].filter((part) => part !== null).join(' ');
    const next = nextDelayMs === null ? '' : dim(`, next after ${(nextDelayMs / 1_000).toFixed(1)} s`);
    print(`${indent}attempt ${number}  ${dim(at.padStart(10))}  ${trigger.padEnd(8)}  ${what} ${dim(`in ${durationMs ?? '?'} ms`)}${next}`);
  }
}

/** What was decided about an event and why, what became of it, and who can prove it. */
export function showTrace(event: EventTrace, deliveries: readonly Delivery[], names: Names): void {
  print(`  ${bold(event.type)} ${dim(event.id)}`);
  print(`    ${event.subject}`);
  print(`  ${cyan('decisions')}`);
  for (const decision of event.decisions) print(`    ${describeDecision(decision, names)}`);
  print(`  ${cyan('deliveries')}`);
  for (const { id, status, destination, attempts } of deliveries) {
    print(`    ${destination.name ?? destination.id}: ${word(status)} ${dim(id)}`);
    showAttempts(attempts, '      ');
  }
  print(`  ${cyan('audit entries')}`);
  for (const { action, status, recordedAt, id } of event.auditEntries)
    print(`    ${dim(recordedAt.slice(11, 23))}  ${action.padEnd(18)} ${word(status)} ${dim(id)}`);
}
