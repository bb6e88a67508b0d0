import { expect, test } from '@jest/globals';
import { severityStyles, viewTestMessage } from '../../domain/message.ts';
import { severities } from '../../domain/severity.ts';
import { buildEvent, buildFullEvent, viewOf } from '../channels/views.ts';

test('every severity has one label and one colour', () => {
  expect(severities.map((severity) => `${severityStyles[severity].label} ${severityStyles[severity].color}`)).toEqual([
    'CRITICAL #D32F2F',
    'HIGH #F57C00',
    'MEDIUM #FBC02D',
    'LOW #388E3C',
    'INFO #1976D2',
  ]);
});

test('fields come in the order of importance, labels last, empty ones not at all', () => {
  expect(viewOf(buildFullEvent({ labels: { a: '1', b: '' } })).fields.map(({ name }) => name)).toEqual([
    'Type',
    'Source',
    'Project',
    'Environment',
    'Resource',
    'Actor',
    'Tenant',
    'Commit',
    'a',
  ]);
  expect(viewOf(buildEvent()).fields.map(({ name }) => name)).toEqual(['Type', 'Source']);
});

test('ids are shown in their wire form', () => {
  const view = viewOf(buildFullEvent());
  expect([view.event.id, view.organization.id, view.project?.id]).toEqual([
    'evt_01k74z3d88fchsq20000000001',
    'org_01k74z3d88fchsq20000000002',
    'prj_01k74z3d88fchsq20000000003',
  ]);
});

test('only http and https links are shown, named by their title, relation or host', () => {
  const links = [
    { href: 'javascript:alert(1)', title: 'x' },
    { href: 'http://' },
    { href: 'https://a.example/x', rel: 'runbook' },
    { href: 'https://b.example/y', rel: 'runbook', title: 'Steps' },
    { href: 'https://c.example/z' },
  ];
  expect(viewOf(buildEvent({ links })).links.map(({ title }) => title)).toEqual(['runbook', 'Steps', 'c.example']);
});

test('a test message says what it is', () => {
  const organization = { id: buildEvent().organizationId, name: 'Demo' };
  const view = viewTestMessage({ id: 'evt_test_1', nowMs: 0, channelName: 'Ops', organization });
  expect(view).toMatchObject({
    severity: 'info',
    event: { id: 'evt_test_1', type: 'channel.test' },
    occurredAt: '1970-01-01T00:00:00.000Z',
  });
  expect(view.message).toContain('"Ops"');
});
