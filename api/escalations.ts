import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import {
  countMembers,
  type EscalationRow,
  findEscalation,
  listEscalations as findEscalations,
  listFirings,
  listMembers,
  listTimeline,
} from '../db/queries/escalation-list.ts';
import { notFound } from '../domain/errors.ts';
import { severities } from '../domain/severity.ts';
import { endpoint } from './endpoint.ts';
import {
  escalationDetail,
  escalationStates,
  presentEscalation,
  presentFiring,
  presentMember,
  presentSuppressed,
  presentTimelineEntry,
  shownEscalation,
  suppressedMember,
  timelineEntry,
} from './escalation-fields.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';
import { idParams, listOf, time, wireId } from './schema.ts';

/** Members and firings shown with an escalation. */
const maxShown = 100;

/** An escalation of the organization; throws `not_found`. */
export async function readEscalationRow(em: EntityManager, organizationId: string, id: string): Promise<EscalationRow> {
  const row = await findEscalation(em, organizationId, id);
  if (row === undefined) throw notFound();
  return row;
}

const listEscalations = endpoint({
  name: 'escalation.list',
  method: 'get',
  path: '/escalations',
  tag: 'Escalations',
  summary: 'List escalations, newest first',
  permission: 'monitoring.view',
  query: z.strictObject({
    ...pageQuery,
    state: listOf(z.enum(escalationStates)).optional(),
    severity: listOf(z.enum(severities)).optional(),
    policyId: wireId('escalation_policy').optional(),
    projectId: wireId('project').optional(),
    from: time.optional().meta({ description: 'Opened at this time or later.' }),
    to: time.optional().meta({ description: 'Opened before this time.' }),
  }),
  responses: { 200: { description: 'A page of escalations.', schema: pageOf(shownEscalation) } },
  handler: async ({ em, input: { query }, ...context }) => {
    const { cursor: _cursor, limit: _limit, state: statuses, severity, ...filter } = query;
    const page = openPage(context, query, { list: 'escalation.list', key: z.uuid() });
    const rows = await findEscalations(
      em,
      context.principal.organizationId,
      { ...filter, statuses, severities: severity },
      { after: page.after, limit: page.take },
    );
    return { body: page.present(rows, ({ id }) => id, presentEscalation) };
  },
});

const readEscalation = endpoint({
  name: 'escalation.view',
  method: 'get',
  path: '/escalations/{id}',
  tag: 'Escalations',
  summary: 'Read an escalation with its events and pages',
  permission: 'monitoring.view',
  params: idParams('escalation'),
  responses: { 200: { description: 'The escalation.', schema: escalationDetail } },
  handler: async ({ em, principal: { organizationId }, input: { params } }) => {
    const row = await readEscalationRow(em, organizationId, params.id);
    const members = await listMembers(em, { organizationId, escalationId: row.id, hidden: false }, { after: undefined, limit: maxShown });
    const firings = await listFirings(em, organizationId, row.id, maxShown);
    const eventCount = members.length < maxShown ? members.length : await countMembers(em, organizationId, row.id);
    return {
      body: { ...presentEscalation(row), eventCount, events: members.map(presentMember), firings: firings.map(presentFiring) },
    };
  },
});

const readTimeline = endpoint({
  name: 'escalation.timeline',
  method: 'get',
  path: '/escalations/{id}/timeline',
  tag: 'Escalations',
  summary: 'What happened to an escalation, in order',
  permission: 'monitoring.view',
  params: idParams('escalation'),
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of the timeline.', schema: pageOf(timelineEntry) } },
  handler: async ({ em, input: { params, query }, ...context }) => {
    const { organizationId } = context.principal;
    const { id } = await readEscalationRow(em, organizationId, params.id);
    const page = openPage(context, query, { list: `escalation.timeline ${id}`, key: z.string().regex(/^\d+$/) });
    const rows = await listTimeline(em, organizationId, id, { after: page.after, limit: page.take });
    return { body: page.present(rows, ({ seq }) => seq, presentTimelineEntry) };
  },
});

const listSuppressed = endpoint({
  name: 'escalation.suppressed',
  method: 'get',
  path: '/escalations/{id}/suppressed',
  tag: 'Escalations',
  summary: 'Events that joined an escalation without a page of their own',
  description: 'Hidden by the cooldown after an acknowledgement, by a snooze, or because people had been paged for the group already.',
  permission: 'monitoring.view',
  params: idParams('escalation'),
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of events, in the order in which they began.', schema: pageOf(suppressedMember) } },
  handler: async ({ em, input: { params, query }, ...context }) => {
    const { organizationId } = context.principal;
    const { id } = await readEscalationRow(em, organizationId, params.id);
    const page = openPage(context, query, { list: `escalation.suppressed ${id}`, key: z.uuid() });
    const rows = await listMembers(em, { organizationId, escalationId: id, hidden: true }, { after: page.after, limit: page.take });
    return { body: page.present(rows, ({ key }) => key, presentSuppressed) };
  },
});

export const escalationEndpoints = [listEscalations, readEscalation, readTimeline, listSuppressed];
