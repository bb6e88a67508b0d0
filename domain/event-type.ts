import type { Severity } from './severity.ts';

export const categories = [
  'deployment',
  'promotion',
  'rollback',
  'governance',
  'cluster',
  'security',
  'alert',
  'job',
  'custom',
  'escalation',
  'operations',
] as const;
export type Category = (typeof categories)[number];

/** The tab of the in-app feed. */
export const feeds = ['job', 'deployment', 'alert', 'security', 'system'] as const;
export type Feed = (typeof feeds)[number];

/** What the type says about the problem of its family: opens it, resolves it, merely occurs, both occurs and resolves, or acknowledges. */
export const effects = ['open', 'resolve', 'occur', 'occur_and_resolve', 'acknowledge'] as const;
export type Effect = (typeof effects)[number];

export interface EventType {
  /** `<noun>.<verb>`, two to four words. */
  readonly type: string;
  readonly category: Category;
  readonly feed: Feed;
  readonly description: string;
  readonly audience: readonly string[];
  readonly defaultSeverity: Severity;
  readonly effect: Effect;
  /** The words before the last: `deployment.failed` and `deployment.completed` are of one family. */
  readonly family: string;
  /** Spellings accepted on input; what is stored and sent is `type`. */
  readonly aliases: readonly string[];
  /** Posted by Tocsin only. */
  readonly own: boolean;
}

/** The words before the last. */
export function familyOf(type: string): string {
  return type.slice(0, type.lastIndexOf('.'));
}

interface Traits {
  severity?: Severity;
  effect?: Effect;
  aliases?: readonly string[];
  feed?: Feed;
}

const group =
  (category: Category, feed: Feed, own = false) =>
  (type: string, description: string, audience: string, traits: Traits = {}): EventType => ({
    type,
    category,
    feed: traits.feed ?? feed,
    description,
    audience: audience.split(', '),
    defaultSeverity: traits.severity ?? 'info',
    effect: traits.effect ?? 'occur',
    family: familyOf(type),
    aliases: traits.aliases ?? [],
    own,
  });

const deployment = group('deployment', 'deployment');
const promotion = group('promotion', 'deployment');
const rollback = group('rollback', 'deployment');
const governance = group('governance', 'security');
const cluster = group('cluster', 'system');
const security = group('security', 'security');
const alert = group('alert', 'alert');
const job = group('job', 'job');
const escalation = group('escalation', 'alert', true);
const operations = group('operations', 'system', true);

/**
 * The built-in catalogue. Aliases are base form and past tense of the last word, written out: a rule would get `drift.detect` and
 * `drift.detected` wrong, which are two types (the cluster differs from Git; a host differs from its baseline).
 */
export const eventTypes: readonly EventType[] = [
  deployment('release.create', 'A new release was created', 'devops, sre', { aliases: ['release.created'] }),
  deployment('release.approve', 'A release was approved for deployment', 'devops, manager', { aliases: ['release.approved'] }),
  deployment('release.deploy', 'A release was successfully deployed', 'devops, sre, manager', {
    effect: 'occur_and_resolve',
    aliases: ['release.deployed'],
  }),
  deployment('release.fail', 'A release deployment failed', 'sre', { severity: 'high', effect: 'open', aliases: ['release.failed'] }),
  deployment('deployment.started', 'A deployment was initiated', 'devops', { aliases: ['deployment.start'] }),
  deployment('deployment.completed', 'A deployment finished successfully', 'devops, sre', {
    effect: 'occur_and_resolve',
    aliases: ['deployment.complete'],
  }),
  deployment('deployment.failed', 'A deployment failed', 'devops, sre', {
    severity: 'high',
    effect: 'open',
    aliases: ['deployment.fail'],
  }),
  deployment('deployment.cancelled', 'A deployment was cancelled', 'devops', {
    severity: 'low',
    effect: 'occur_and_resolve',
    aliases: ['deployment.cancel', 'deployment.canceled'],
  }),

  promotion('promotion.request', 'A promotion between environments was requested', 'devops', {
    severity: 'low',
    aliases: ['promotion.requested'],
  }),
  promotion('promotion.approve', 'A promotion was approved', 'devops, manager', { aliases: ['promotion.approved'] }),
  promotion('promotion.execute', 'A promotion was completed', 'devops, sre', { aliases: ['promotion.executed'] }),

  rollback('rollback.initiate', 'A rollback was started', 'sre', { severity: 'medium', aliases: ['rollback.initiated'] }),
  rollback('rollback.complete', 'A rollback finished successfully', 'sre, devops', { aliases: ['rollback.completed'] }),

  governance('policy.violation.detect', 'A policy violation was found', 'security, devops', {
    severity: 'high',
    effect: 'open',
    aliases: ['policy.violation.detected'],
  }),
  governance('policy.violation.resolve', 'A policy violation was resolved', 'security', {
    effect: 'resolve',
    aliases: ['policy.violation.resolved'],
  }),
  governance('approval.request', 'An action requires approval', 'manager', {
    severity: 'low',
    feed: 'deployment',
    aliases: ['approval.requested'],
  }),
  governance('compliance.scan_completed', 'A compliance scan finished', 'security', { aliases: ['compliance.scan_complete'] }),

  cluster('agent.connect', 'A cluster agent came online', 'sre', { effect: 'occur_and_resolve', aliases: ['agent.connected'] }),
  cluster('agent.disconnect', 'A cluster agent went offline', 'sre', {
    severity: 'high',
    effect: 'open',
    aliases: ['agent.disconnected'],
  }),
  cluster('host.online', "A host's heartbeat resumed", 'sre', { effect: 'occur_and_resolve' }),
  cluster('host.offline', 'A host missed its heartbeat', 'sre', { severity: 'high', effect: 'open' }),
  cluster('drift.detect', 'Cluster state diverged from Git', 'sre, devops', { severity: 'medium', effect: 'open', feed: 'alert' }),
  cluster('drift.detected', 'Configuration drifted from its baseline', 'sre, devops', {
    severity: 'medium',
    effect: 'open',
    feed: 'alert',
  }),

  security('break_glass.opened', 'A break-glass session was opened', 'security, manager', {
    severity: 'high',
    aliases: ['break_glass.open'],
  }),
  security('apikey.create', 'A new API key was created', 'security', { severity: 'medium', aliases: ['apikey.created'] }),
  security('member.role.change', "A member's role was changed", 'security, manager', {
    severity: 'medium',
    aliases: ['member.role.changed'],
  }),

  alert('alert.fired', 'An alert rule triggered', 'sre', { severity: 'medium', effect: 'open', aliases: ['alert.fire'] }),
  alert('alert.resolved', 'An alert condition cleared', 'sre', { effect: 'resolve', aliases: ['alert.resolve'] }),
  alert('alert.acknowledged', 'An alert was acknowledged by a user', 'sre', {
    effect: 'acknowledge',
    aliases: ['alert.acknowledge'],
  }),

  job('job.completed', 'A job finished successfully', 'devops', { effect: 'occur_and_resolve', aliases: ['job.complete'] }),
  job('job.failed', 'A job failed', 'devops', { severity: 'medium', effect: 'open', aliases: ['job.fail'] }),

  escalation('escalation.triggered', 'A tier of an escalation was paged', 'sre'),
  escalation('escalation.acknowledged', 'An escalation was acknowledged', 'sre'),
  escalation('escalation.snoozed', 'An escalation was snoozed', 'sre'),
  escalation('escalation.resolved', 'An escalation was resolved', 'sre'),
  escalation('escalation.exhausted', 'An escalation ended without an acknowledgement', 'sre, manager', { severity: 'high' }),

  operations('webhook.failing', 'A webhook has failed for days', 'devops'),
  operations('webhook.recovered', 'A failing webhook delivered again', 'devops'),
  operations('webhook.disabled', 'A webhook was disabled', 'devops'),
  operations('channel.disabled', 'A channel was disabled', 'devops'),
  operations('delivery.failed', 'A delivery failed for good', 'devops'),
  operations('watchdog.late', 'Something that should have been sent was not', 'sre', { severity: 'high' }),
  operations('audit.integrity_failed', 'The audit log does not verify', 'security', { severity: 'high' }),
];

const bySpelling = new Map(eventTypes.flatMap((entry) => [entry.type, ...entry.aliases].map((spelling) => [spelling, entry] as const)));

/** The type that a producer's spelling means; undefined when there is none. */
export function findEventType(spelling: string): EventType | undefined {
  return bySpelling.get(spelling);
}
