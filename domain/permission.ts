/** What a principal may do. The names are a contract with clients and never change. */
export const permissions = [
  'events.write',
  'events.view',
  'audit_logs.view',
  'audit_logs.export',
  'audit_logs.write',
  'audit_logs.manage',
  'audit_logs.erase',
  'session_recordings.view',
  'session_recordings.write',
  'session_recordings.manage',
  'monitoring.view',
  'monitoring.manage',
  'escalations.acknowledge',
  'break_glass.manage',
  'webhook_secrets.view',
  'organization.manage',
] as const;

export type Permission = (typeof permissions)[number];

export const roles = ['owner', 'admin', 'operator', 'auditor', 'member'] as const;

export type Role = (typeof roles)[number];

/** What each role bundles. Erasing audit content cannot be undone: owners only. */
export const rolePermissions: Readonly<Record<Role, readonly Permission[]>> = {
  owner: permissions,
  admin: permissions.filter((permission) => permission !== 'audit_logs.erase'),
  operator: [
    'events.write',
    'events.view',
    'audit_logs.view',
    'session_recordings.view',
    'session_recordings.write',
    'monitoring.view',
    'monitoring.manage',
    'escalations.acknowledge',
    'break_glass.manage',
  ],
  auditor: ['events.view', 'audit_logs.view', 'audit_logs.export', 'session_recordings.view', 'monitoring.view'],
  member: ['events.view', 'monitoring.view', 'escalations.acknowledge'],
};

/**
 * What a credential may do now: what it was given, as far as its owner still has it. A key therefore never outlives a demotion
 * of its owner, and names that this version does not know grant nothing.
 */
export function effectivePermissions(granted: readonly string[], owned: readonly string[]): ReadonlySet<Permission> {
  return new Set(permissions.filter((permission) => granted.includes(permission) && owned.includes(permission)));
}

/** Those of `wanted` that `held` does not contain, in the order asked: nobody may give away what they do not have. */
export function permissionsBeyond(wanted: readonly Permission[], held: ReadonlySet<Permission>): Permission[] {
  return wanted.filter((permission) => !held.has(permission));
}
