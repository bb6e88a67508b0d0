import { z } from 'zod';
import { ProjectEntity } from '../db/entities/project.ts';
import { insertBroadcast } from '../db/queries/broadcast.ts';
import { validationFailed } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { roles } from '../domain/permission.ts';
import { endpoint } from './endpoint.ts';
import { message, subject } from './event-schema.ts';
import { presentedId, presentedTime, wireId } from './schema.ts';

const shownMs = 30 * 86_400_000;

const audience = z
  .union([z.literal('all'), z.strictObject({ role: z.enum(roles) }), z.strictObject({ projectId: wireId('project') })], {
    error: 'must be "all", {"role": …} or {"projectId": …}',
  })
  .meta({ description: 'Every member, those of a role, or those who see a project.' });

export const notificationBroadcastEndpoint = endpoint({
  name: 'notification.broadcast',
  method: 'post',
  path: '/notifications/broadcast',
  tag: 'Notifications',
  summary: 'Tell all members something in the app',
  description:
    'It is in the feed of everybody who is a member by now and of the audience, for 30 days. Each reader has a mark of their own.',
  permission: 'organization.manage',
  idempotent: true,
  body: z.strictObject({ subject, message: message.optional(), audience }).meta({ id: 'Broadcast' }),
  responses: {
    201: {
      description: 'It is in the feeds.',
      schema: z.strictObject({ id: presentedId('notification'), createdAt: presentedTime, shownUntil: presentedTime }),
    },
  },
  handler: async ({ em, principal: { organizationId }, input: { body }, now, audit, afterCommit, deps }) => {
    const role = typeof body.audience === 'object' && 'role' in body.audience ? body.audience.role : null;
    const projectId = typeof body.audience === 'object' && 'projectId' in body.audience ? body.audience.projectId : null;
    if (projectId !== null && (await em.count(ProjectEntity, { orgId: organizationId, id: projectId, deletedAt: null })) === 0) {
      throw validationFailed([{ pointer: '/audience/projectId', code: 'not_found', detail: 'is not a project of the organization' }]);
    }
    const id = newId(now.getTime());
    const shownUntil = new Date(now.getTime() + shownMs);
    await insertBroadcast(em, organizationId, {
      id,
      subject: body.subject,
      message: body.message ?? null,
      role,
      projectId,
      at: now,
      shownUntil,
    });
    const shown = { id: toWireId('notification', id), createdAt: now.toISOString(), shownUntil: shownUntil.toISOString() };
    audit({
      resource: { type: 'notification', id, name: body.subject },
      ...(projectId === null ? {} : { projectId }),
      after: {
        ...shown,
        subject: body.subject,
        message: body.message ?? null,
        role,
        projectId: projectId && toWireId('project', projectId),
      },
    });
    afterCommit(() => deps.feedChanged(organizationId));
    return { body: shown };
  },
});
