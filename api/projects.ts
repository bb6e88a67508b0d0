import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { ProjectEntity } from '../db/entities/project.ts';
import type { Project } from '../db/entities/project.ts';
import { DomainError, notFound } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { foldName } from '../domain/name.ts';
import { endpoint } from './endpoint.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { idParams, presentedId, presentedTime, prose, resourceName } from './schema.ts';
import { assertVersion, versionHeaders } from './version.ts';

const project = z
  .strictObject({
    id: presentedId('project'),
    name: z.string(),
    description: z.string(),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Project' });

const fields = { name: resourceName, description: prose(2000) };

function presentProject(row: Project) {
  return {
    id: toWireId('project', row.id),
    name: row.name,
    description: row.description,
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

/** Throws `project_not_found` unless every one is a live project of the organization. The ids are UUIDs. */
export async function assertProjects(em: EntityManager, organizationId: string, projectIds: readonly string[]): Promise<void> {
  if (projectIds.length === 0) return;
  const wanted = new Set(projectIds);
  const found = await em.count(ProjectEntity, { orgId: organizationId, id: { $in: [...wanted] }, deletedAt: null });
  if (found < wanted.size) throw new DomainError('project_not_found', 'project not found in active organization');
}

/** Throws `not_found`. */
export async function findProject(
  em: EntityManager,
  organizationId: string,
  id: string,
  lockMode: LockMode = LockMode.NONE,
): Promise<Project> {
  const row = await em.findOne(ProjectEntity, { orgId: organizationId, id, deletedAt: null }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

const listProjects = endpoint({
  name: 'project.list',
  method: 'get',
  path: '/projects',
  tag: 'Projects',
  summary: 'List projects, newest first',
  permission: 'authenticated',
  query: z.strictObject(pageQuery),
  responses: { 200: { description: 'A page of projects.', schema: pageOf(project) } },
  handler: async ({ em, principal, input, ...context }) => {
    const page = openPageById({ ...context, principal }, input.query, 'project.list');
    const rows = await em.find(ProjectEntity, { orgId: principal.organizationId, deletedAt: null, ...page.where }, page.options);
    return { body: page.present(rows, presentProject) };
  },
});

const createProject = endpoint({
  name: 'project.create',
  method: 'post',
  path: '/projects',
  tag: 'Projects',
  summary: 'Create a project',
  permission: 'organization.manage',
  idempotent: true,
  body: z.strictObject({ name: fields.name, description: fields.description.default('') }).meta({ id: 'ProjectCreate' }),
  responses: { 201: { description: 'The project.', schema: project } },
  handler: async ({ em, principal, input: { body }, now, audit }) => {
    const row = em.create(ProjectEntity, {
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      name: body.name,
      nameKey: foldName(body.name),
      description: body.description,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentProject(row);
    audit({ resource: { type: 'project', id: row.id, name: row.name }, projectId: row.id, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const readProject = endpoint({
  name: 'project.view',
  method: 'get',
  path: '/projects/{id}',
  tag: 'Projects',
  summary: 'Read a project',
  permission: 'authenticated',
  params: idParams('project'),
  responses: { 200: { description: 'The project.', schema: project } },
  handler: async ({ em, principal, input }) => {
    const row = await findProject(em, principal.organizationId, input.params.id);
    return { body: presentProject(row), headers: versionHeaders(row) };
  },
});

const updateProject = endpoint({
  name: 'project.update',
  method: 'patch',
  path: '/projects/{id}',
  tag: 'Projects',
  summary: 'Change a project',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('project'),
  body: z.strictObject({ name: fields.name.optional(), description: fields.description.optional() }).meta({ id: 'ProjectPatch' }),
  responses: { 200: { description: 'The project as it is now.', schema: project } },
  handler: async ({ em, principal, input: { params, body }, ifMatch, now, audit }) => {
    const row = await findProject(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    const before = presentProject(row);
    row.name = body.name ?? row.name;
    row.nameKey = foldName(row.name);
    row.description = body.description ?? row.description;
    row.version += 1;
    row.updatedAt = now;
    const after = presentProject(row);
    audit({ resource: { type: 'project', id: row.id, name: row.name }, projectId: row.id, before, after });
    return { body: after, headers: versionHeaders(row) };
  },
});

const deleteProject = endpoint({
  name: 'project.delete',
  method: 'delete',
  path: '/projects/{id}',
  tag: 'Projects',
  summary: 'Delete a project',
  description: 'Its name becomes free. Events, deliveries and audit entries that name it stay.',
  permission: 'organization.manage',
  conditional: true,
  params: idParams('project'),
  responses: { 204: { description: 'Deleted.' } },
  handler: async ({ em, principal, input: { params }, ifMatch, now, audit }) => {
    const row = await findProject(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    audit({ resource: { type: 'project', id: row.id, name: row.name }, projectId: row.id, before: presentProject(row) });
    row.deletedAt = now;
    return {};
  },
});

export const projectEndpoints = [listProjects, createProject, readProject, updateProject, deleteProject];
