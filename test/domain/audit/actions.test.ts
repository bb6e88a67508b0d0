import { expect, test } from '@jest/globals';
import { isControlAction, normalizeAction, readAction } from '../../../domain/audit/actions.ts';

test.each([
  ['webhook.create', 'integrations', 'operational', 'create'],
  ['webhook.rotate_secret', 'integrations', 'operational', 'rotate_secret'],
  ['delivery.attempt', 'integrations', 'operational', 'attempt'],
  ['event.ingest', 'workflows', 'operational', 'ingest'],
  ['rule.update', 'policies', 'operational', 'update'],
  ['api_key.use', 'authentication', 'iam', 'use'],
  ['api_key.create', 'users', 'iam', 'create'],
  ['user.login', 'authentication', 'iam', 'login'],
  ['user.disable', 'users', 'iam', 'disable'],
  ['member.role_change', 'users', 'iam', 'role_change'],
  ['deployment.failed', 'deployments', 'operational', 'failed'],
  ['cluster.node.add', 'projects', 'operational', 'add'],
  ['audit.view', 'settings', 'iam', 'view'],
  ['organization.update', 'settings', 'operational', 'update'],
  ['toaster.burn', 'settings', 'operational', 'burn'],
])('%s is %s, %s', (action, category, entryClass, verb) => {
  expect(readAction(action)).toMatchObject({ category, class: entryClass, verb });
});

test('colons are dots; anything else is refused', () => {
  expect(normalizeAction('deployment:create')).toBe('deployment.create');
  for (const bad of ['deploy', 'Deploy.x', 'a..b', 'a.b.c.d.e', '1a.b', 'a.b ', `a.${'b'.repeat(127)}`])
    expect(normalizeAction(bad)).toBeUndefined();
});

test('names of the language are ordinary nouns', () => {
  for (const action of ['constructor.create', 'to_string.x', 'has_own_property.x']) expect(readAction(action).category).toBe('settings');
});

test.each(['audit.prune', 'legal_hold.place', 'signing_key.rotate', 'log.open', 'subject.erase', 'break_glass.close', 'checkpoint.roster'])(
  '%s is a control entry',
  (action) => expect(isControlAction(action)).toBe(true),
);

test.each(['audit.view', 'break_glass.act', 'checkpoint.publish', 'login.create'])('%s is not', (action) =>
  expect(isControlAction(action)).toBe(false),
);
