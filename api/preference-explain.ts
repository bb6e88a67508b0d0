import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ContactMethodEntity } from '../db/entities/contact-method.ts';
import { windowKinds } from '../domain/digest.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { categories } from '../domain/event-type.ts';
import { toWireId } from '../domain/id.ts';
import { defaultDigestBypass } from '../domain/message-window.ts';
import { preferenceModes, type PreferenceChoice } from '../domain/preference.ts';
import { type AskedContact, explainPreferences, type PreferenceExplanation } from '../domain/preference-explanation.ts';
import { severities } from '../domain/severity.ts';
import type { Principal } from './authorization.ts';
import { ownedBy } from './contact-lookup.ts';
import { endpoint } from './endpoint.ts';
import { unknownType } from './event-pattern.ts';
import { presentPreference, shownPreference } from './preference-fields.ts';
import { ownerOf } from './preference-writing.ts';
import { presentedId, presentedTime, text, wireId } from './schema.ts';

const deciding = shownPreference
  .extend({ layer: z.enum(['user', 'project', 'organization']).meta({ description: 'Whose it is: `user` is the caller.' }) })
  .meta({ id: 'DecidingPreference' });

const explanation = z
  .strictObject({
    event: z.strictObject({
      type: z.string(),
      category: z.enum(categories),
      severity: z.enum(severities),
      projectId: presentedId('project').nullable(),
      environment: z.string().nullable(),
    }),
    at: presentedTime,
    reaches: z.array(
      z.strictObject({
        channelType: z.string(),
        contactMethodId: presentedId('contact_method').nullable().meta({ description: 'Null: in the app.' }),
        mode: z.enum(preferenceModes),
        reason: z.string(),
        winner: deciding.nullable().meta({ description: 'The rule that decides. Null: built in.' }),
        losers: z.array(deciding).meta({ description: 'Rules that apply too, in the order in which they would have decided.' }),
        wait: z
          .strictObject({ kind: z.enum(windowKinds), until: presentedTime })
          .nullable()
          .meta({ description: 'What a message would wait for now: a digest, or the end of quiet hours. Null: for nothing.' }),
      }),
    ),
  })
  .meta({ id: 'PreferenceExplanation' });

function presentReach({ reach, mode, reason, winner, losers, wait }: PreferenceExplanation) {
  return {
    channelType: reach.channelType,
    contactMethodId: reach.contactMethodId === null ? null : toWireId('contact_method', reach.contactMethodId),
    mode,
    reason,
    winner: winner && presentDeciding(winner),
    losers: losers.map(presentDeciding),
    wait: wait && { kind: wait.kind, until: new Date(wait.until).toISOString() },
  };
}

function presentDeciding({ layer, preference }: NonNullable<PreferenceChoice['winner']>) {
  return { layer, ...presentPreference(preference) };
}

/** Those of the caller, their own address first. */
async function readContacts(em: EntityManager, principal: Principal): Promise<AskedContact[]> {
  const rows = await em.find(ContactMethodEntity, ownedBy(principal), { orderBy: { login: 'desc', id: 'asc' } });
  return rows.map(({ id, version, channelType, digestIntervalMs, dailyAt, verifiedAt }) => ({
    id,
    version,
    channelType,
    digestIntervalMs,
    dailyAt,
    verified: Boolean(verifiedAt),
  }));
}

const explain = endpoint({
  name: 'preference.explain',
  method: 'get',
  path: '/preferences/explain',
  tag: 'Preferences',
  summary: 'How the caller would hear of such an event now, and why',
  description:
    'In the app and by each contact method: the rule that decides, those that it outranks, and what a message would wait for. Pages, and notices that nobody can mute, ask for no preference.',
  permission: 'authenticated',
  query: z.strictObject({
    type: z.string().max(100).meta({ example: 'deployment.failed' }),
    projectId: wireId('project').optional(),
    severity: z.enum(severities).optional().meta({ description: "Default: the type's." }),
    environment: text(1, 256).optional(),
  }),
  responses: { 200: { description: 'How, by each way.', schema: explanation } },
  handler: async ({ em, principal, deps, now, input: { query } }) => {
    const { orgId, ownerId: userId } = ownerOf(principal);
    const { types, projectIds, preferences, escalation } = await deps.facts.read(em, orgId);
    const type = types.find(query.type);
    if (type === undefined) throw validationFailed([{ pointer: '/query/type', ...unknownType, detail: 'is no known event type' }]);
    const { projectId = null, environment = null, severity = type.defaultSeverity } = query;
    if (projectId !== null && !projectIds.has(projectId))
      throw new DomainError('project_not_found', 'project not found in active organization');
    const event = { type: type.type, category: type.category, severity, projectId, environment };
    const asked = { userId, contacts: await readContacts(em, principal), at: now.getTime() };
    const reaches = explainPreferences(event, asked, { preferences, senders: escalation.senders, digestBypass: defaultDigestBypass });
    return {
      body: {
        event: { ...event, projectId: projectId === null ? null : toWireId('project', projectId) },
        at: now.toISOString(),
        reaches: reaches.map(presentReach),
      },
    };
  },
});

export const preferenceExplainEndpoints = [explain];
