import { OrganizationEntity } from '../db/entities/organization.ts';
import type { Project } from '../db/entities/project.ts';
import type { PreferenceOwner } from '../db/queries/preferences.ts';
import type { Principal } from './authorization.ts';
import { endpoint } from './endpoint.ts';
import { inspectPreferences } from './preference-faults.ts';
import { draftOf, preferenceBodies, presentDefaults, presentPreferences, shownDefaults, shownPreferences } from './preference-fields.ts';
import { openPreferences, ownerOf, readPreferences, replaceDefaults, writeOwn } from './preference-writing.ts';
import { findProject } from './projects.ts';
import { idParams } from './schema.ts';
import { versionHeaders } from './version.ts';

const readOwn = endpoint({
  name: 'preference.view',
  method: 'get',
  path: '/preferences',
  tag: 'Preferences',
  summary: 'How the caller wants to hear of things',
  description: 'Without a rule that applies, here or in the defaults, things are in the app at once and nowhere else.',
  permission: 'authenticated',
  responses: { 200: { description: 'The preferences.', schema: shownPreferences } },
  handler: async ({ em, principal }) => readPreferences(em, ownerOf(principal), presentPreferences),
});

const replaceOwn = endpoint({
  name: 'preference.replace',
  method: 'put',
  path: '/preferences',
  tag: 'Preferences',
  summary: "Replace the caller's preferences",
  description:
    "Of the rules that apply to an event and a channel one decides: a project's before that of all projects, then a type before a category before `all`, then a contact method before its channel type before `any`. It owns what it is about: what it filters out is off.",
  permission: 'authenticated',
  conditional: true,
  inspect: inspectPreferences('user'),
  body: preferenceBodies.user,
  responses: { 200: { description: 'The preferences as they are now.', schema: shownPreferences } },
  handler: async ({ input: { body }, ...context }) => {
    const { principal, deps } = context;
    const owner = ownerOf(principal);
    const types = await deps.intake.types(owner.orgId);
    const rules = body.rules.map((rule) => draftOf(rule, types));
    const { row, after } = await writeOwn(context, owner, await openPreferences(context, owner), { ...body, rules });
    return { body: after, headers: versionHeaders(row) };
  },
});

const ofOrganization = ({ organizationId }: Principal): PreferenceOwner => ({
  orgId: organizationId,
  ownerKind: 'organization',
  ownerId: organizationId,
});

const readOfOrganization = endpoint({
  name: 'preference.organization.view',
  method: 'get',
  path: '/organization/preferences',
  tag: 'Preferences',
  summary: "The organization's defaults",
  permission: 'organization.manage',
  responses: { 200: { description: 'The defaults.', schema: shownDefaults } },
  handler: async ({ em, principal }) => readPreferences(em, ofOrganization(principal), presentDefaults),
});

const replaceOfOrganization = endpoint({
  name: 'preference.organization.replace',
  method: 'put',
  path: '/organization/preferences',
  tag: 'Preferences',
  summary: "Replace the organization's defaults",
  description: "They decide where neither a person's own preferences nor the project's defaults do.",
  permission: 'organization.manage',
  conditional: true,
  inspect: inspectPreferences('organization'),
  body: preferenceBodies.organization,
  responses: { 200: { description: 'The defaults as they are now.', schema: shownDefaults } },
  handler: async ({ input: { body }, ...context }) => {
    const { em, principal } = context;
    const { id, name } = await em.findOneOrFail(OrganizationEntity, { id: principal.organizationId });
    return replaceDefaults(context, ofOrganization(principal), { resource: { type: 'organization', id, name }, ...body });
  },
});

const ofProject = ({ orgId, id }: Project): PreferenceOwner => ({ orgId, ownerKind: 'project', ownerId: id });

const readOfProject = endpoint({
  name: 'preference.project.view',
  method: 'get',
  path: '/projects/{id}/preferences',
  tag: 'Preferences',
  summary: "A project's defaults",
  permission: 'organization.manage',
  params: idParams('project'),
  responses: { 200: { description: 'The defaults.', schema: shownDefaults } },
  handler: async ({ em, principal, input: { params } }) =>
    readPreferences(em, ofProject(await findProject(em, principal.organizationId, params.id)), presentDefaults),
});

const replaceOfProject = endpoint({
  name: 'preference.project.replace',
  method: 'put',
  path: '/projects/{id}/preferences',
  tag: 'Preferences',
  summary: "Replace a project's defaults",
  description: "They decide about the project's events where a person's own preferences do not.",
  permission: 'organization.manage',
  conditional: true,
  inspect: inspectPreferences('project'),
  params: idParams('project'),
  body: preferenceBodies.project,
  responses: { 200: { description: 'The defaults as they are now.', schema: shownDefaults } },
  handler: async ({ input: { params, body }, ...context }) => {
    const project = await findProject(context.em, context.principal.organizationId, params.id);
    const { id, name } = project;
    const rules = body.rules.map((rule) => ({ ...rule, projectId: null }));
    return replaceDefaults(context, ofProject(project), { resource: { type: 'project', id, name }, projectId: id, rules });
  },
});

export const preferenceEndpoints = [readOwn, replaceOwn, readOfOrganization, replaceOfOrganization, readOfProject, replaceOfProject];
