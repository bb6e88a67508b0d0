import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { provisionTemporalCli } from '../../embedded/temporal-provision.ts';
import { findTestTemporal, withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('an operator who looks at an escalation in Temporal', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance();
  });
  afterAll(() => tocsin.stop());

  test('reads whom it paged and why, and what comes next, and acknowledges by the command that is shown', async () => {
    const hook = await tocsin.hook({ types: ['job.completed'], answers: [413] });
    const second = await tocsin.hook({ types: ['job.completed'] });
    const tiers = [hook, second].map(({ id }) => ({ targets: [{ kind: 'webhook', id }], timeout: 'PT10M' }));
    await tocsin.call('POST', '/escalation-policies', { name: 'Platform', trigger: { types: ['alert.fired'] }, tiers });
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject: 'A secret subject' });
    await tocsin.receiver.waitForArrivals(1, { path: second.path });
    const { data } = await tocsin.get('/escalations');
    const { id, workflowId } = data[0];
    const handle = tocsin.client.workflow.getHandle(workflowId);
    const readDetails = async (): Promise<string> =>
      (await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')).currentDetails;
    const details = await waitFor(readDetails, (text) => text.includes('tier_unreachable'), { what: 'the details' });
    expect(details).toMatch(/^\*\*triggered\*\*, severity high, policy Platform, tier 2 of round 1; next: last_round_over at 2\d{3}-/);
    expect(details).toContain(`| ${hook.id} | 1.1 | opened | webhook | failed: payload_too_large |`);
    expect(details).toContain(`| ${second.id} | 1.2 | tier_unreachable | webhook |`);
    expect(details).not.toContain('A secret subject');
    expect(details).not.toContain(second.path);

    const [, command] = /```sh\n(.+)\n```/.exec(details)!;
    const cli = await provisionTemporalCli({ cliPath: process.env['TEMPORAL_CLI_PATH'], env: process.env, progress: () => {} });
    const env = { ...process.env, TEMPORAL_ADDRESS: await findTestTemporal(), CLI: cli.path };
    await promisify(execFile)('sh', ['-c', `temporal() { "$CLI" "$@"; }\n${command}`], { env });
    const acknowledged = await waitFor(
      async () => tocsin.get(`/escalations/${id}`),
      ({ state }) => state === 'acknowledged',
      { what: 'the acknowledgement' },
    );
    const { stdout: me } = await promisify(execFile)('whoami');
    expect(acknowledged['acknowledgedBy']).toEqual({ type: 'user', id: me.trim() });
    const { data: entries } = await tocsin.get(`/audit-logs?action=escalation.acknowledge&resource=escalation:${id}`);
    expect(entries).toHaveLength(1);
  });
});
