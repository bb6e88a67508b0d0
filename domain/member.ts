import { DomainError } from './errors.ts';
import { permissionsBeyond, rolePermissions } from './permission.ts';
import type { Permission, Role } from './permission.ts';

export const memberStatuses = ['invited', 'active', 'disabled'] as const;
export type MemberStatus = (typeof memberStatuses)[number];

/** What a member does for a living; presets of notification preferences are made for these. */
export const personas = ['devops', 'sre', 'security', 'manager', 'developer'] as const;
export type Persona = (typeof personas)[number];

export interface MemberFacts {
  readonly role: Role;
  readonly status: MemberStatus;
}

/**
 * Throws unless a principal holding `held` may turn `before` into `after`. Two rules: nobody gives or takes a role that holds
 * more than they do, and an organization keeps one active owner, or nobody could ever repair it.
 * @param otherActiveOwners active owners besides this member
 */
export function assertMemberChange(
  before: MemberFacts | undefined,
  after: MemberFacts,
  { held, otherActiveOwners }: { held: ReadonlySet<Permission>; otherActiveOwners: number },
): void {
  const touched = before === undefined ? [after.role] : [before.role, after.role];
  for (const role of touched) {
    if (permissionsBeyond(rolePermissions[role], held).length > 0) {
      throw new DomainError('permission_denied', `The role ${role} holds permissions that you do not have.`);
    }
  }
  const wasOwner = before?.role === 'owner' && before.status === 'active';
  const staysOwner = after.role === 'owner' && after.status === 'active';
  if (wasOwner && !staysOwner && otherActiveOwners === 0) {
    throw new DomainError('last_owner', 'The last active owner cannot be demoted, disabled or removed.');
  }
}
