import { z } from 'zod';
import { EscalationPolicyVersionEntity } from '../db/entities/escalation-policy.ts';
import { endpoint } from './endpoint.ts';
import { findPolicy, policyParams } from './escalation-policies.ts';
import { presentPolicy, shownPolicy } from './escalation-policy-fields.ts';
import { openPage, pageOf, pageQuery } from './paging.ts';

const listVersions = endpoint({
  name: 'escalation_policy.versions',
  method: 'get',
  path: '/escalation-policies/{id}/versions',
  tag: 'Escalation policies',
  summary: 'List every version of an escalation policy, newest first',
  permission: 'monitoring.view',
  params: policyParams,
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of versions. `updatedAt` is when each began.', schema: pageOf(shownPolicy) } },
  handler: async ({ em, input: { params, query }, ...context }) => {
    const { organizationId } = context.principal;
    const { id } = await findPolicy(em, organizationId, params.id);
    const page = openPage(context, query, { list: `escalation_policy.versions ${id}`, key: z.int() });
    const rows = await em.find(
      EscalationPolicyVersionEntity,
      { orgId: organizationId, id, ...(page.after === undefined ? {} : { version: { $lt: page.after } }) },
      { orderBy: { version: 'desc' }, limit: page.take },
    );
    return { body: page.present(rows, ({ version }) => version, presentPolicy) };
  },
});

export const policyVersionEndpoints = [listVersions];
