/** The demo's chapters, in order. Each does something real, shows the answers, and ends the demo when one is not what was promised. */
import { type AuditEntryDetail, type Client, type Decision, type Delivery, type EventTrace, type Integrity } from './client.ts';
import type { Destinations } from './destinations.ts';
import { demand, until } from './fault.ts';
import { buildFeed } from './feed.ts';
import type { Instance } from './instance.ts';
import { bold, dim, green, heading, print, red, stamped, word } from './print.ts';
import type { Receivers } from './receivers.ts';
import { describeDecision, showAttempts, showTrace } from './show.ts';
import { forgeEntry } from './tamper.ts';

export interface Stage {
  readonly api: Client;
  readonly instance: Instance;
  readonly receivers: Receivers;
  readonly destinations: Destinations;
}

/** Posts the feed while receivers report what reaches them. @returns ids of events by type */
export async function postFeed({ api, destinations }: Stage): Promise<ReadonlyMap<string, string>> {
  const { projectId, names } = destinations;
  const feed = buildFeed(projectId);
  heading(`Posting ${feed.length} events; arrivals show as they come`);
  const ids = new Map<string, string>();
  for (const event of feed) {
    const { id, decisions } = await api.post<{ id: string; decisions: Decision[] }>('/events', event, 202);
    ids.set(event.type, id);
    stamped(`${bold('→')} ${bold(event.type)} ${dim(event.subject)}`);
    for (const decision of decisions) print(`                 ${describeDecision(decision, names)}`);
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  return ids;
}

/** The endpoint that fails twice: the first two attempts fail, the third gets through. */
export async function showRetry({ api, destinations }: Stage, eventId: string): Promise<void> {
  const delivery = await whenEnded(api, await findDelivery(api, eventId, destinations.flakyId));
  const refused = delivery.attempts.filter(({ statusCode }) => statusCode === 503).length;
  heading(`A retry: "${delivery.destination.name}" answered 503 to ${refused} attempts`);
  showAttempts(delivery.attempts);
  demand(delivery.status === 'delivered' && delivery.attempts.length === 3, `The third attempt did not deliver ${delivery.id}.`);
  print(`  the delivery of ${delivery.eventType}: ${word(delivery.status)}`);
}

/** The endpoint that is down: the schedule runs out, the endpoint comes back, a person sends it again. */
export async function showFinalFailure({ api, destinations, receivers }: Stage, eventId: string): Promise<Delivery> {
  const failed = await whenEnded(api, await findDelivery(api, eventId, destinations.archiveId));
  heading(`A final failure: "${failed.destination.name}" took none of ${failed.attempts.length} attempts`);
  showAttempts(failed.attempts);
  demand(failed.status === 'failed' && failed.attempts.length === 6, `${failed.id} did not fail after six attempts.`);
  print(`  the delivery of ${failed.eventType}: ${word(failed.status)}`);

  await receivers.openArchive();
  heading('Its manual retry, now that the endpoint is up');
  const { status } = await api.post<Delivery>(`/deliveries/${failed.id}/retry`, {}, 202);
  print(`  POST /deliveries/${failed.id}/retry: ${status}`);
  const retried = await whenEnded(api, failed.id);
  showAttempts(retried.attempts.slice(failed.attempts.length));
  demand(retried.status === 'delivered' && retried.attempts.at(-1)?.trigger === 'manual', `The manual retry did not deliver ${failed.id}.`);
  print(`  the delivery of ${retried.eventType}: ${word(retried.status)}`);
  return retried;
}

export async function showEverythingArrived({ api, receivers }: Stage): Promise<void> {
  const counts = await until('every delivery has ended', async () => {
    const { data } = await api.get<{ data: Delivery[] }>('/deliveries?limit=500');
    const byState = Map.groupBy(data, ({ status }) => status);
    const ended = (byState.get('delivered')?.length ?? 0) + (byState.get('failed')?.length ?? 0);
    return ended === data.length ? byState : undefined;
  });
  const { count } = await api.get<{ count: number }>('/notifications/unread-count');
  heading('All of it');
  for (const [state, deliveries] of counts) print(`  ${deliveries.length} deliveries ${word(state)}`);
  print(`  ${count} notifications unread in the app`);
  demand(counts.size === 1 && counts.has('delivered'), 'Not every delivery was delivered.');

  heading('A mail, as the SMTP server got it');
  const mail = receivers.smtp.mails.find(({ raw }) => raw.includes('Break-glass'));
  demand(mail !== undefined, 'No mail about the break-glass session came.');
  for (const name of ['From', 'To', 'Subject', 'Message-ID']) print(`  ${name}: ${readHeader(mail.raw, name)}`);
}

export async function showEventTrace({ api, destinations }: Stage, eventId: string): Promise<EventTrace> {
  heading(`The trace of one event: GET /events/${eventId}`);
  const event = await api.get<EventTrace>(`/events/${eventId}`);
  const deliveries = await Promise.all(event.deliveries.map(({ id }) => api.get<Delivery>(`/deliveries/${id}`)));
  showTrace(event, deliveries, destinations.names);
  const actions = event.auditEntries.map(({ action }) => action);
  demand(actions.includes('event.ingest') && actions.includes('delivery.attempt'), 'The trace lacks its audit entries.');
  return event;
}

/** Verification finds nothing; then a superuser edits one row, and it finds that row. */
export async function showTampering({ api, instance }: Stage, event: EventTrace): Promise<void> {
  heading('The audit log: GET /audit-logs/integrity');
  const intact = await until('every audit entry has its place in the log', async () => {
    const report = await api.get<Integrity>('/audit-logs/integrity');
    return report.pending.entries === 0 ? report : undefined;
  });
  demand(intact.ok, `The untouched audit log does not verify: ${JSON.stringify(intact.findings)}`);
  print(`  ${green('ok')}: ${intact.treeSize} entries, root ${intact.rootHash}`);

  const entryId = event.auditEntries.find(({ action }) => action === 'event.ingest')?.id;
  const entry = await api.get<AuditEntryDetail>(`/audit-logs/${entryId}`);
  const document = JSON.parse(entry.canonical) as { id: string };
  const [from, to] = [`"severity":"${event.severity}"`, '"severity":"info"'];
  const refusal = await forgeEntry(instance.databaseUrl, { entryId: document.id, from, to });
  heading(`A superuser edited entry ${entry.index}: ${from} became ${to}, the row's leaf hash with it`);
  print(`  first: ${refusal}`);
  print('  with the triggers off: 1 row changed');

  const report = await api.get<Integrity>('/audit-logs/integrity');
  for (const finding of report.findings)
    print(`  ${red(finding.code)} at index ${bold(String(finding.index))} ${dim(finding.entryId ?? '')}`);
  const [finding] = report.findings;
  const named = report.findings.length === 1 && finding?.code === 'leaf_mismatch' && finding.index === entry.index;
  demand(!report.ok && named && finding.entryId === entry.id, 'Verification did not name the edited entry.');
  print(`  committed ${dim(finding.expected ?? '')}`);
  print(`  found     ${dim(finding.got ?? '')}`);
}

/** What an operator finds in Temporal about a destination, and the address where it is found. */
export async function showWorkflows({ instance, destinations }: Stage, delivery: Delivery): Promise<void> {
  const { temporalUiUrl, temporalNamespace: namespace, docsUrl } = instance;
  const query = encodeURIComponent(`TocsinDestination="${destinations.archiveId}"`);
  heading('Where to look');
  const executions = await until('Temporal shows both runs of the failed delivery', async () => {
    const response = await fetch(`${temporalUiUrl}/api/v1/namespaces/${namespace}/workflows?query=${query}`);
    const body = (await response.json()) as { executions?: Array<{ execution: { workflowId: string }; status: string }> };
    return body.executions !== undefined && body.executions.length >= 2 ? body.executions : undefined;
  });
  print(`  API docs         ${docsUrl}`);
  print(`  Temporal Web UI  ${temporalUiUrl}/namespaces/${namespace}/workflows?query=${query}`);
  for (const { execution, status } of executions)
    print(`                   ${execution.workflowId} ${dim(status.replace('WORKFLOW_EXECUTION_STATUS_', '').toLowerCase())}`);
  demand(
    executions.some(({ execution }) => execution.workflowId === delivery.workflowId),
    `Temporal does not show the workflow ${delivery.workflowId}.`,
  );
}

async function findDelivery(api: Client, eventId: string, destinationId: string): Promise<string> {
  const { deliveries } = await api.get<EventTrace>(`/events/${eventId}`);
  const delivery = deliveries.find((one) => one.destinationId === destinationId);
  demand(delivery !== undefined, `${eventId} has no delivery to ${destinationId}.`);
  return delivery.id;
}

async function whenEnded(api: Client, deliveryId: string): Promise<Delivery> {
  return until(`delivery ${deliveryId} has ended`, async () => {
    const delivery = await api.get<Delivery>(`/deliveries/${deliveryId}`);
    return delivery.status === 'delivered' || delivery.status === 'failed' ? delivery : undefined;
  });
}

function readHeader(mail: string, name: string): string {
  const head = mail.slice(0, mail.search(/\r?\n\r?\n/)).replace(/\r?\n[ \t]+/g, ' ');
  return new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]?.trim() ?? '';
}
