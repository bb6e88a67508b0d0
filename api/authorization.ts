import { DomainError } from '../domain/errors.ts';
import { permissionsBeyond } from '../domain/permission.ts';
import type { Permission } from '../domain/permission.ts';

/** Who asks, in which organization, and what they may do. Ids are UUIDs. */
export interface Principal {
  readonly organizationId: string;
  readonly type: 'user' | 'service_account';
  /** The member's or service account's id. */
  readonly id: string;
  readonly name: string;
  readonly email: string | undefined;
  /** Who made the service account. */
  readonly creatorId: string | undefined;
  readonly apiKey: { readonly id: string; readonly name: string };
  readonly permissions: ReadonlySet<Permission>;
}

/** Throws `permission_denied` unless the principal holds the permission. */
export function assertPermission(principal: Principal, permission: Permission): void {
  if (!principal.permissions.has(permission)) throw new DomainError('permission_denied', `This needs the permission ${permission}.`);
}

/** Throws `permission_denied` when `given` holds what the principal does not: nobody gives away more than they have. */
export function assertMayGive(principal: Principal, given: readonly Permission[]): void {
  const beyond = permissionsBeyond(given, principal.permissions);
  if (beyond.length > 0) throw new DomainError('permission_denied', `You do not have ${beyond.join(', ')} to give.`);
}
