/** A day of a platform team: what a deployment platform, its clusters, its hosts and its policies would post. */

export interface PostedEvent {
  readonly type: string;
  readonly subject: string;
  readonly [field: string]: unknown;
}

const release = { gitCommitSha: 'abc123def456', labels: { service: 'api-platform', version: '2.0.6' } };
const deployment = {
  ...release,
  environment: 'production',
  source: 'gitops',
  resource: { type: 'deployment', id: 'api-platform-production', name: 'api-platform' },
};
const john = { type: 'user', id: 'john', name: 'john@example.com' };

export function buildFeed(projectId: string): PostedEvent[] {
  return [
    {
      ...release,
      type: 'release.create',
      subject: 'Release api-platform 2.0.6',
      resource: { type: 'release', id: 'api-platform-2.0.6' },
      actor: john,
    },
    {
      ...release,
      type: 'promotion.request',
      subject: 'Promote api-platform 2.0.6 from staging to production',
      resource: { type: 'promotion', id: 'api-platform-2.0.6' },
      data: { from: 'staging', to: 'production' },
      actor: john,
    },
    {
      ...release,
      type: 'approval.request',
      severity: 'medium',
      subject: 'api-platform 2.0.6 needs approval for production',
      resource: { type: 'promotion', id: 'api-platform-2.0.6' },
    },
    {
      ...release,
      type: 'promotion.approve',
      subject: 'Promotion of api-platform 2.0.6 was approved',
      resource: { type: 'promotion', id: 'api-platform-2.0.6' },
      actor: { type: 'user', id: 'maria', name: 'maria@example.com' },
    },
    { ...deployment, type: 'deployment.started', subject: 'Deploying api-platform 2.0.6 to production' },
    {
      ...deployment,
      type: 'deployment.failed',
      severity: 'critical',
      subject: 'api-platform 2.0.6 failed in production',
      message: 'The migration step timed out after 300 s; 2 of 6 replicas run the new version.',
      data: { step: 'migrate', previousVersion: '2.0.5' },
      links: [{ rel: 'run', href: 'https://ci.example.com/runs/4711', title: 'Run 4711' }],
    },
    { ...deployment, type: 'rollback.initiate', subject: 'Rolling api-platform back to 2.0.5', actor: john },
    { ...deployment, type: 'rollback.complete', subject: 'api-platform runs 2.0.5 again' },
    {
      type: 'drift.detect',
      subject: 'Cluster eu-1 diverged from Git: 2 of 214 objects differ',
      source: 'cluster-agent',
      environment: 'production',
      resource: { type: 'cluster', id: 'eu-1' },
      data: { objects: ['Deployment/api-platform', 'ConfigMap/feature-flags'] },
    },
    {
      type: 'break_glass.opened',
      subject: 'Break-glass session of john@example.com on vpc-production',
      message: 'Justification: production is half deployed and the pipeline cannot reach the database.',
      source: 'iam',
      environment: 'production',
      resource: { type: 'project', id: 'vpc-production' },
      actor: john,
      labels: { ticket: 'INC-2031' },
    },
    {
      type: 'host.offline',
      subject: 'node-3 missed its heartbeat',
      source: 'host-agent',
      environment: 'production',
      resource: { type: 'host', id: 'node-3' },
    },
    { type: 'host.online', subject: 'node-3 is back', source: 'host-agent', resource: { type: 'host', id: 'node-3' } },
    {
      type: 'policy.violation.detect',
      subject: 'S3 encryption required: vpc-production was blocked',
      message: 'A change introduced an unencrypted S3 bucket.',
      source: 'policy',
      resource: { type: 'policy', id: 's3-encryption' },
      gitCommitSha: '9f1c2e7',
    },
    {
      type: 'compliance.scan_completed',
      subject: 'SOC 2 scan: 48 of 50 controls pass',
      source: 'compliance',
      resource: { type: 'scan', id: 'soc2-2026-11' },
      data: { passed: 48, failed: 2 },
    },
  ].map((event) => ({ ...event, projectId }));
}
