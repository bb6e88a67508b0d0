import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { postedEvent } from '../../api/event-schema.ts';
import { translateAlertmanager } from '../../domain/alertmanager.ts';
import { DomainError } from '../../domain/errors.ts';

const at = Date.parse('2026-10-01T12:00:00Z');

const payload = (): { version: string; alerts: Array<Record<string, unknown>> } =>
  JSON.parse(readFileSync(new URL('../fixtures/intake/alertmanager.json', import.meta.url), 'utf8')) as ReturnType<typeof payload>;

/** The events that a payload becomes, or the faults that it is refused for. */
function translate(value: unknown) {
  try {
    return { events: translateAlertmanager(value, at) };
  } catch (error) {
    if (error instanceof DomainError && error.code === 'validation_failed') {
      return { faults: error.faults!.map(({ pointer, code }) => `${pointer} ${code}`) };
    }
    throw error;
  }
}

const firing = (overrides: Record<string, unknown> = {}) => ({
  version: '4',
  alerts: [{ status: 'firing', labels: { alertname: 'X' }, fingerprint: 'f', ...overrides }],
});
const one = (overrides: Record<string, unknown> = {}) => translateAlertmanager(firing(overrides), at)[0]!;

describe('a call of Alertmanager', () => {
  test('becomes one event per alert', () => {
    expect(translateAlertmanager(payload(), at)).toEqual([
      {
        type: 'alert.fired',
        severity: 'medium',
        subject: 'Pod is crash looping.',
        message: 'Pod shop/checkout-7d9f6c5b8-x2x4v (checkout) is in waiting state (reason: "CrashLoopBackOff").',
        source: 'http://alertmanager.monitoring:9093',
        labels: {
          alertname: 'KubePodCrashLooping',
          container: 'checkout',
          label_app_kubernetes_io_part_of: 'shop',
          namespace: 'shop',
          pod: 'checkout-7d9f6c5b8-x2x4v',
          prometheus: 'monitoring/k8s',
          severity: 'warning',
        },
        links: [
          {
            rel: 'generator',
            href: 'http://prometheus-k8s-0:9090/graph?g0.expr=max_over_time%28kube_pod_container_status_waiting_reason%5B5m%5D%29+%3E%3D+1&g0.tab=1',
            title: 'Source of the alert',
          },
          {
            rel: 'runbook',
            href: 'https://runbooks.prometheus-operator.dev/runbooks/kubernetes/kubepodcrashlooping',
            title: 'Runbook',
          },
        ],
        dedupKey: 'am:c6eadffa33fcdf37',
        occurredAt: '2026-10-01T11:58:03.157Z',
      },
      {
        type: 'alert.fired',
        // `page` is no severity: the type's own holds
        subject: 'TargetDown',
        source: 'http://alertmanager.monitoring:9093',
        labels: { alertname: 'TargetDown', job: 'node-exporter', namespace: 'monitoring', severity: 'page' },
        links: [],
        dedupKey: 'am:bc97ff14869b13e3',
        occurredAt: '2026-10-01T11:58:33.500Z',
      },
      {
        type: 'alert.resolved',
        severity: 'critical',
        subject: 'Node is not ready.',
        message: 'worker-3 has been unready for more than 15 minutes.',
        source: 'http://alertmanager.monitoring:9093',
        labels: { alertname: 'KubeNodeNotReady', node: 'worker-3', severity: 'critical' },
        links: [
          {
            rel: 'generator',
            href: 'http://prometheus-k8s-0:9090/graph?g0.expr=kube_node_status_condition&g0.tab=1',
            title: 'Source of the alert',
          },
        ],
        dedupKey: 'am:1a30ba71cca2921f',
        occurredAt: '2026-10-01T11:57:18.002Z',
      },
    ]);
  });

  test('without alerts becomes nothing', () => {
    expect(translateAlertmanager({ version: '4', alerts: [] }, at)).toEqual([]);
  });

  test('fires and resolves the same problem', () => {
    const [fired] = translateAlertmanager(firing(), at);
    const [resolved] = translateAlertmanager(firing({ status: 'resolved', endsAt: '2026-10-01T11:00:00Z' }), at);
    expect(resolved).toMatchObject({ type: 'alert.resolved', dedupKey: fired!.dedupKey });
  });

  test.each<[string, unknown, string[]]>([
    ['is no object', [], [' invalid_type']],
    ['is nothing', undefined, [' invalid_type']],
    ['is of another version', { version: '1', alerts: [] }, ['/version unknown_value']],
    ['has no version and no alerts', {}, ['/version unknown_value', '/alerts required']],
    ['has alerts that are no list', { version: '4', alerts: {} }, ['/alerts invalid_type']],
    [
      'has faults in several alerts',
      {
        version: '4',
        alerts: [
          7,
          { status: 'suppressed', labels: { a: 1, 'b/c': null }, annotations: { summary: [] } },
          { status: 'firing', labels: {}, fingerprint: 'f', startsAt: 'today' },
          { status: 'resolved', fingerprint: '', labels: [], annotations: null, endsAt: 1 },
        ],
      },
      [
        '/alerts/0 invalid_type',
        '/alerts/1/status unknown_value',
        '/alerts/1/fingerprint required',
        '/alerts/1/labels/a invalid_type',
        '/alerts/1/labels/b~1c invalid_type',
        '/alerts/1/annotations/summary invalid_type',
        '/alerts/2/startsAt invalid_format',
        '/alerts/3/fingerprint invalid_type',
        '/alerts/3/labels invalid_type',
        '/alerts/3/endsAt invalid_format',
      ],
    ],
  ])('is refused with every fault when it %s', (_, value, faults) => {
    expect(translate(value)).toEqual({ faults });
  });
});

describe('an alert', () => {
  test('has a summary, else its name, else no subject of its own', () => {
    expect(one({ annotations: { summary: 'S' } }).subject).toBe('S');
    expect(one({ annotations: { summary: ' \n' } }).subject).toBe('X');
    expect(one({ labels: {} })).not.toHaveProperty('subject');
  });

  test('is clipped where it does not fit, never refused', () => {
    const event = one({
      annotations: { summary: `${'x'.repeat(255)}😀`, description: `${'é'.repeat(5_000)}`, runbook_url: `https://h/${'x'.repeat(2_048)}` },
      labels: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`label_${i}`, 'v'.repeat(300)])),
      generatorURL: 'javascript:alert(1)',
    });
    expect(event.subject).toBe('x'.repeat(255));
    expect(event.message).toBe('é'.repeat(4_096));
    expect(event.links).toEqual([]);
    expect(Object.entries(event.labels as object)).toHaveLength(32);
    expect((event.labels as Record<string, string>)['label_31']).toBe('v'.repeat(256));
  });

  test('happened when it began, when it ended, or when it came, never later than that', () => {
    const times = { startsAt: '2026-10-01T10:00:00Z', endsAt: '2026-10-01T11:00:00Z' };
    expect(one(times).occurredAt).toBe('2026-10-01T10:00:00.000Z');
    expect(one({ ...times, status: 'resolved' }).occurredAt).toBe('2026-10-01T11:00:00.000Z');
    expect(one({ startsAt: '2026-10-01T12:30:00Z' }).occurredAt).toBe('2026-10-01T12:00:00.000Z');
    expect(one({ startsAt: '0001-01-01T00:00:00Z' })).not.toHaveProperty('occurredAt');
    expect(one()).not.toHaveProperty('occurredAt');
  });

  test('whatever it holds is refused here with its place, or is an event that is accepted', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: fc.constantFrom('a', ' ', '\n', '\u0000', '\u2028', '\ud800', '😀'), maxLength: 600 }),
      fc.constantFrom('__proto__', 'constructor', 'https://h/x', 'http://', 'http://?', 'https://h/\u00a0x', 'HTTP://[::1]/'),
      fc.webUrl(),
    );
    const texts = fc.dictionary(anyText, anyText, { maxKeys: 40 });
    const alert = fc.record({
      status: fc.constantFrom('firing', 'resolved', 'other'),
      labels: texts,
      annotations: fc.record({ summary: anyText, description: anyText, runbook_url: anyText }, { requiredKeys: [] }),
      startsAt: fc.oneof(
        fc.constantFrom('2026-10-01T09:52:26.739266876+02:00', '9999-12-31T23:59:59Z', '2026-02-31T25:00:00Z'),
        fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(at + 1e9) }).map((date) => date.toISOString()),
      ),
      generatorURL: anyText,
      fingerprint: fc.oneof(fc.constantFrom('c6eadffa33fcdf37', 'bc97ff14869b13e3'), anyText),
    });
    fc.assert(
      fc.property(fc.array(alert, { maxLength: 3 }), anyText, (alerts, externalURL) => {
        const { events, faults } = translate({ version: '4', alerts, externalURL });
        if (faults !== undefined) expect(faults.every((fault) => /^\/alerts\/\d\/(status|fingerprint|startsAt)/.test(fault))).toBe(true);
        for (const event of events ?? []) expect(postedEvent.safeParse(event).error?.issues ?? []).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
