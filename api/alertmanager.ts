import { z } from 'zod';
import { translateAlertmanager } from '../domain/alertmanager.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import { ownTransactionEndpoint } from './endpoint.ts';
import { presentStatus } from './event-answers.ts';
import { eventMaker, isPrepared, prepareEvents } from './event-drafts.ts';
import type { PreparedEvent } from './intake-work.ts';
import { presentedId, wireId } from './schema.ts';

const mebibyte = 1024 * 1024;

/** Only what translating it needs is checked, and by the translation: Alertmanager drops for good what is refused. */
const payload = z.looseObject({}).meta({
  description: 'What Alertmanager posts, payload version 4.',
  example: {
    version: '4',
    status: 'firing',
    externalURL: 'http://alertmanager:9093',
    alerts: [
      {
        status: 'firing',
        labels: { alertname: 'DiskFull', severity: 'critical' },
        annotations: { summary: 'Disk of db-1 is full' },
        startsAt: '2026-01-31T09:30:00Z',
        fingerprint: 'c6eadffa33fcdf37',
      },
    ],
  },
});

const postAlerts = ownTransactionEndpoint({
  name: 'event.ingest_alertmanager',
  method: 'post',
  path: '/intake/alertmanager',
  tag: 'Events',
  summary: "Take Alertmanager's webhook",
  description:
    'The address of a `webhook_config`, with the API key as its `authorization`. Each alert becomes `alert.fired` or `alert.resolved`; all are ' +
    'accepted together or not at all. Repeats and retries look alike to Alertmanager, so there is no idempotency key: deduplication absorbs both.',
  permission: 'events.write',
  query: z.strictObject({ projectId: wireId('project').optional() }),
  body: payload,
  bodyLimit: 16 * mebibyte,
  responses: {
    200: {
      description: 'All are accepted: one result per alert, in order',
      schema: z.object({ data: z.array(z.object({ id: presentedId('event'), status: z.enum(['accepted', 'duplicate']) })) }),
    },
  },
  handler: async ({ input: { query, body }, principal, now, trail, deps, auditedAs }) => {
    const project = query.projectId === undefined ? {} : { projectId: toWireId('project', query.projectId) };
    const inputs = translateAlertmanager(body, now.getTime()).map((input) => ({ ...input, ...project }));
    const makers = inputs.map((input) => eventMaker(input, { data: undefined, now }));
    const events = allPrepared(await prepareEvents(deps.intake, principal.organizationId, makers));
    const result = await deps.intake.accept({ principal, now, trail, events });
    // No idempotency key, so nothing is ever replayed.
    if ('replay' in result) throw new Error('An answer was replayed to a request without a key.');
    auditedAs(result.entryIds);
    return {
      body: {
        data: result.outcomes.map((outcome) => {
          // A project that is not ours is the fault of the address, and so of all.
          if ('error' in outcome) throw outcome.error;
          return { id: toWireId('event', outcome.event.id), status: presentStatus(outcome.change) };
        }),
      },
    };
  },
});

/** Throws what is wrong with any of them. */
function allPrepared(prepared: ReadonlyArray<PreparedEvent | DomainError>): PreparedEvent[] {
  const faults = prepared.flatMap((event, i) =>
    event instanceof DomainError ? (event.faults ?? []).map((fault) => ({ ...fault, pointer: `/alerts/${i}${fault.pointer}` })) : [],
  );
  if (faults.length > 0) throw validationFailed(faults);
  return prepared.filter(isPrepared);
}

export const alertmanagerEndpoints = [postAlerts];
