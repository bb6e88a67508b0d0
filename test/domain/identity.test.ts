import { describe, expect, test } from '@jest/globals';
import { apiKeyPattern, apiKeyState, makeApiKey } from '../../domain/api-key.ts';
import { assertMemberChange } from '../../domain/member.ts';
import type { MemberFacts } from '../../domain/member.ts';
import { foldName } from '../../domain/name.ts';
import { effectivePermissions, permissions, permissionsBeyond, rolePermissions, roles } from '../../domain/permission.ts';
import type { Role } from '../../domain/permission.ts';

describe('permissions', () => {
  test('a role never holds more than the one above it', () => {
    expect(rolePermissions.owner).toEqual(permissions);
    expect(rolePermissions.admin).not.toContain('audit_logs.erase');
    for (const role of roles) expect(permissionsBeyond(rolePermissions[role], new Set(rolePermissions.owner))).toEqual([]);
    expect(permissionsBeyond(rolePermissions.operator, new Set(rolePermissions.admin))).toEqual([]);
  });

  test('a key has what it was given as far as its owner still has it, and unknown names grant nothing', () => {
    expect([...effectivePermissions(['events.write', 'events.view', 'root'], ['events.view', 'root'])]).toEqual(['events.view']);
  });
});

describe('a change of a member', () => {
  const owner: MemberFacts = { role: 'owner', status: 'active' };
  const change =
    (before: MemberFacts | undefined, after: MemberFacts, role: Role, otherActiveOwners = 1) =>
    () =>
      assertMemberChange(before, after, { held: new Set(rolePermissions[role]), otherActiveOwners });

  test.each<[string, () => void, string | undefined]>([
    ['an owner demotes another', change(owner, { role: 'admin', status: 'active' }, 'owner'), undefined],
    ['the last owner resigns', change(owner, { role: 'admin', status: 'active' }, 'owner', 0), 'last_owner'],
    ['the last owner is disabled', change(owner, { role: 'owner', status: 'disabled' }, 'owner', 0), 'last_owner'],
    [
      'a disabled owner is demoted',
      change({ role: 'owner', status: 'disabled' }, { role: 'member', status: 'disabled' }, 'owner', 0),
      undefined,
    ],
    ['an admin makes an owner', change(undefined, { role: 'owner', status: 'invited' }, 'admin'), 'permission_denied'],
    ['an admin demotes an owner', change(owner, { role: 'member', status: 'active' }, 'admin'), 'permission_denied'],
    ['an admin invites an admin', change(undefined, { role: 'admin', status: 'invited' }, 'admin'), undefined],
  ])('%s', (_, attempt, code) => {
    if (code === undefined) expect(attempt).not.toThrow();
    else expect(attempt).toThrow(code);
  });
});

describe('API keys', () => {
  test('are made of uniform characters: bytes that would favour some are dropped', () => {
    const key = makeApiKey((count) => Uint8Array.from({ length: count }, (_, index) => (index % 2 === 0 ? 255 : 61)));
    expect(key).toBe(`tsn_${'z'.repeat(40)}`);
    expect(makeApiKey((count) => crypto.getRandomValues(new Uint8Array(count)))).toMatch(apiKeyPattern);
  });

  test('end when revoked or when their time has come, whichever is first', () => {
    const now = new Date(1000);
    expect(apiKeyState({ expiresAt: null, revokedAt: null }, now)).toBe('active');
    expect(apiKeyState({ expiresAt: new Date(1001), revokedAt: null }, now)).toBe('active');
    expect(apiKeyState({ expiresAt: new Date(1000), revokedAt: null }, now)).toBe('expired');
    expect(apiKeyState({ expiresAt: new Date(1), revokedAt: new Date(2) }, now)).toBe('revoked');
  });
});

test.each([
  ['Hook', ' ＨＯＯＫ '],
  ['Straße', 'STRASSE'],
  ['ΌΣΟΣ', 'όσος'],
  ['ﬁle', 'FILE'],
])('%s and %s are one name', (left, right) => {
  expect(foldName(left)).toBe(foldName(right));
});
