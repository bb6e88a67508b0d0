import { inOrganization } from '../../db/tenant.ts';
import { changeEscalation, type ChangedEscalationState, repeatWhileMembersChange } from '../../db/escalation-change.ts';
import { fromWireId } from '../../domain/id.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

export interface OpenEscalation {
  readonly id: string;
  readonly uuid: string;
  readonly policyId: string;
  readonly eventId: string;
  readonly organization: TestOrganization;
  command(name: string, body?: unknown, options?: { key?: string; headers?: Record<string, string> }): Promise<TestAnswer>;
  read(part?: string): Promise<TestAnswer['body']>;
  /** Another problem of the same group. */
  join(fields?: object): Promise<TestAnswer>;
  /** What is due at `at`, by default what the escalation waits for, happens as the worker would have it happen. */
  elapse(at?: number): Promise<ChangedEscalationState | undefined>;
}

let count = 0;

/** An organization's webhooks, policies and escalations, made through the API. */
export function createStage(api: TestApi) {
  async function buildWebhook({ key }: TestOrganization): Promise<string> {
    const body = { name: `hook ${(count += 1)}`, url: 'http://127.0.0.1:9/', eventTypes: ['*'] };
    return (await api.request('POST', '/webhooks', { key, body })).body['id'];
  }

  async function buildPolicy(organization: TestOrganization, fields: object = {}): Promise<string> {
    const tier = { targets: [{ kind: 'webhook', id: await buildWebhook(organization) }] };
    const body = { name: `policy ${(count += 1)}`, tiers: [tier, tier, tier], groupBy: ['label.group'], ...fields };
    const answer = await api.request('POST', '/escalation-policies?force=true', { key: organization.key, body });
    if (answer.status !== 201) throw new Error(answer.text);
    return answer.body['id'];
  }

  /** An escalation of a policy of its own, opened by an event. */
  async function openEscalation(organization: TestOrganization, { policy = {}, event = {} }: { policy?: object; event?: object } = {}) {
    const group = `group ${(count += 1)}`;
    const trigger = { matchers: [{ key: 'label.group', op: '=', value: group }] };
    const policyId = await buildPolicy(organization, { trigger, ...policy });
    const { key } = organization;
    const join = async (fields: object = {}) => {
      const body = { type: 'alert.fired', dedupKey: `problem ${(count += 1)}`, labels: { group }, ...fields };
      return api.request('POST', '/events', { key, body });
    };
    const opened = await join({ subject: `Subject of ${group}`, ...event });
    if (opened.status !== 202) throw new Error(opened.text);
    const found = await api.request('GET', `/escalations?policyId=${policyId}`, { key });
    const id: string = found.body['data'][0].id;
    const uuid = fromWireId('escalation', id)!;
    const escalation: OpenEscalation = {
      id,
      uuid,
      policyId,
      eventId: opened.body['id'],
      organization,
      join,
      command: async (name, body, options = {}) => api.request('POST', `/escalations/${id}/${name}`, { key, body, ...options }),
      read: async (part = '') => (await api.request('GET', `/escalations/${id}${part}`, { key })).body,
      async elapse(at) {
        const dueAt = at ?? Date.parse((await escalation.read())['dueAt']);
        return repeatWhileMembersChange(async () =>
          inOrganization(api.orm, organization.id, async (em) =>
            changeEscalation(em, api.deps.facts, {
              organizationId: organization.id,
              escalationId: uuid,
              at: dueAt,
              mayClose: true,
              input: ({ version }) => ({ kind: 'due', version }),
            }),
          ),
        );
      },
    };
    return escalation;
  }

  return { buildWebhook, buildPolicy, openEscalation };
}
