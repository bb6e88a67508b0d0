import type { EscalationRow, PagedRow } from '../db/queries/escalation-view.ts';
import { toWireId } from '../domain/id.ts';
import { acknowledge, type EscalationView, resolve, workflowIds } from '../workflows/messages.ts';

/** What an operator reads of an escalation in the Temporal Web UI: ids and codes only, no address, no text of an event. */
export interface EscalationDetails {
  view: EscalationView;
  /** Of the timer. */
  summary: string;
  /** Markdown. */
  details: string;
}

export function describeEscalation(row: EscalationRow, namespace: string): EscalationDetails {
  const { version, severity, round, tier, dueAt, why } = row;
  const state = row.status as EscalationView['state'];
  const view = { state, version, severity, round, tier, dueAt: dueAt === null ? null : timeOf(dueAt), why: why ?? 'nothing' };
  const lines = row.recent.map(({ at, kind, round, tier, reason }) => `| ${timeOf(at)} | ${kind} | ${round}.${tier} | ${reason ?? ''} |`);
  const details = [
    `**${state}**, severity ${severity}, policy ${row.policyName}, tier ${tier} of round ${round}; next: ${view.why} at ${view.dueAt ?? 'no time'}`,
    '',
    '| paged | round.tier | why | by | then |',
    '|---|---|---|---|---|',
    ...row.pages.map(describePage),
    '',
    '| at | what | round.tier | why |',
    '|---|---|---|---|',
    ...lines,
    '',
    `To acknowledge it, or with \`${resolve.name}\` to end it, as whoever you say you are (a \`usr_\` id is a member):`,
    '',
    '```sh',
    signalCommand(row.id, namespace),
    '```',
  ].join('\n');
  return { view, summary: why === null ? state : `${why.replaceAll('_', ' ')}, after tier ${tier} of round ${round}`, details };
}

/** As it can be pasted into a shell whose `temporal` knows the server. Each time it is run it is a request of its own. */
function signalCommand(escalationId: string, namespace: string): string {
  const input = `"{\\"requestId\\":\\"$(date +%s%N)\\",\\"actor\\":\\"$(whoami)\\"}"`;
  return `temporal workflow signal --namespace ${namespace} --workflow-id ${workflowIds.escalation(escalationId)} --name ${acknowledge.name} --input ${input}`;
}

function describePage({ round, tier, reason, channelType, userId, destinationKind, destinationId, state, errorCode }: PagedRow): string {
  const whom = userId === null ? toWireId(destinationKind, destinationId) : toWireId('user', userId);
  return `| ${whom} | ${round}.${tier} | ${reason} | ${channelType} | ${errorCode === null ? state : `${state}: ${errorCode}`} |`;
}

function timeOf(text: string): string {
  return new Date(text).toISOString();
}
