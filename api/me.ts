import { z } from 'zod';
import { MemberEntity } from '../db/entities/member.ts';
import { OrganizationEntity } from '../db/entities/organization.ts';
import { toWireId } from '../domain/id.ts';
import { personas } from '../domain/member.ts';
import { permissions, roles } from '../domain/permission.ts';
import { endpoint } from './endpoint.ts';
import { presentedId } from './schema.ts';

const me = z
  .strictObject({
    type: z.enum(['user', 'service_account']),
    id: z.string(),
    name: z.string(),
    email: z.string().nullable(),
    role: z.enum(roles).nullable().meta({ description: 'Null for service accounts.' }),
    personas: z.array(z.enum(personas)),
    permissions: z.array(z.enum(permissions)).meta({ description: 'What this credential may do.' }),
    organization: z.strictObject({ id: presentedId('organization'), name: z.string() }),
    apiKey: z.strictObject({ id: presentedId('api_key'), name: z.string() }),
  })
  .meta({ id: 'Me' });

const readMe = endpoint({
  name: 'me.view',
  method: 'get',
  path: '/me',
  tag: 'Organization',
  summary: 'Who the credential belongs to, and what it may do',
  permission: 'authenticated',
  responses: { 200: { description: 'The caller.', schema: me } },
  handler: async ({ em, principal }) => {
    const organization = await em.findOneOrFail(OrganizationEntity, { id: principal.organizationId });
    const member =
      principal.type === 'user' ? await em.findOneOrFail(MemberEntity, { orgId: principal.organizationId, id: principal.id }) : undefined;
    return {
      body: {
        type: principal.type,
        id: toWireId(principal.type, principal.id),
        name: principal.name,
        email: principal.email ?? null,
        role: member?.role ?? null,
        personas: member?.personas ?? [],
        permissions: [...principal.permissions],
        organization: { id: toWireId('organization', organization.id), name: organization.name },
        apiKey: { id: toWireId('api_key', principal.apiKey.id), name: principal.apiKey.name },
      },
    };
  },
});

export const meEndpoints = [readMe];
