import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startSlackReceiver, slackPath } from '../receivers/slack.ts';
import { startSmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { closedHistory, readableHistory } from '../workflows/history.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

/** Never part of anything else, so that a search for it finds only leaks. */
const secrets = {
  signing: 'signing-secret-Zq8w3nB1xLkP0',
  header: 'header-secret-Hy6t2mV9rTcJ4/+&',
  password: 'smtp-password-Rk5s7gD3uFwN8',
  slack: slackPath.slice('/services/'.length),
};
const spellings = Object.values(secrets).flatMap((secret) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64'),
  Buffer.from(secret).toString('hex'),
]);

describeWithTemporal('secrets of destinations', () => {
  let tocsin: Instance;
  let stop: () => Promise<unknown>;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S' });
    const slack = await startSlackReceiver();
    const mail = await startSmtpReceiver({ security: 'none', users: { tocsin: 'another' } });
    stop = async () => Promise.all([tocsin.stop(), slack.close(), mail.close()]);

    // Receivers that give back all they know, in every spelling.
    const echo = `${secrets.signing} ${encodeURIComponent(secrets.header)} ${Buffer.from(secrets.header).toString('base64')} ${secrets.header}`;
    const answer = {
      status: 500,
      body: echo,
      headers: { 'x-echo': secrets.header, location: `http://x/?k=${encodeURIComponent(secrets.signing)}` },
    };
    slack.script(slackPath, [], { status: 403, body: `no such hook: ${slackPath}` });
    const hook = await tocsin.hook({
      types: ['apikey.create'],
      then: answer,
      fields: { secret: secrets.signing, headers: { 'X-Token': secrets.header } },
    });
    tocsin.receiver.script('/channel', [{ status: 500, body: Buffer.from(`\0${echo}\xff`, 'latin1') }], answer);
    const add = async (type: string, settings: object) =>
      (await tocsin.call('POST', '/channels', { name: type, type, settings }))['id'] as string;
    const url = tocsin.receiver.url('/channel');
    const channelIds = [
      await add('webhook', { url, secret: secrets.signing, headers: { 'X-Token': secrets.header } }),
      await add('slack', { webhookUrl: slack.webhookUrl }),
      await add('email', {
        host: mail.host,
        port: mail.port,
        security: 'none',
        username: 'tocsin',
        password: secrets.password,
        from: 'a@example.com',
        to: ['b@example.com'],
      }),
    ];
    await tocsin.call('POST', '/rules', { name: 'all', position: 1, types: ['apikey.create'], channelIds });
    const { id } = await tocsin.post({ type: 'apikey.create' });
    await waitFor(
      () => tocsin.get(`/events/${id}`),
      ({ deliveries }) => deliveries.length === 4 && deliveries.every(({ status }: { status: string }) => status === 'failed'),
      { what: 'the deliveries' },
    );
    await tocsin.call('POST', `/webhooks/${hook.id}/test`);
    for (const channelId of channelIds) await tocsin.call('POST', `/channels/${channelId}/test`);
  });
  afterAll(() => stop());

  const leaksIn = (text: string) => spellings.filter((spelling) => text.includes(spelling));

  test('reached the receiver', () => {
    const [arrival] = tocsin.receiver.arrivalsAt('/channel');
    expect(arrival!.headers['x-token']).toBe(secrets.header);
  });

  test('are in no row of any table', async () => {
    const client = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await client.connect();
    const { rows: tables } = await client.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace in ('public'::regnamespace, 'audit'::regnamespace)`,
    );
    const leaks: string[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
      for (const { text } of rows) for (const leak of leaksIn(text)) leaks.push(`${name}: ${leak}`);
    }
    await client.end();
    expect(tables.length).toBeGreaterThan(20);
    expect(leaks).toEqual([]);
  });

  test('are in no history, attribute or memo of Temporal', async () => {
    const leaks: string[] = [];
    let workflows = 0;
    for await (const { workflowId } of tocsin.client.workflow.list()) {
      workflows += 1;
      const description = JSON.stringify((await tocsin.client.workflow.getHandle(workflowId).describe()).raw);
      const text = readableHistory(await closedHistory(tocsin.client, workflowId)) + description;
      expect(text).not.toContain(tocsin.receiver.origin);
      for (const leak of leaksIn(text)) leaks.push(`${workflowId}: ${leak}`);
    }
    expect(workflows).toBeGreaterThanOrEqual(8);
    expect(leaks).toEqual([]);
  });

  test('are in no log line', () => {
    expect(tocsin.workerLog.some((line) => line.includes('delivery.attempt'))).toBe(true);
    expect(leaksIn(tocsin.workerLog.join('') + JSON.stringify(tocsin.api.logLines))).toEqual([]);
  });

  test('are in no answer of the API', async () => {
    const { data: deliveries } = await tocsin.get('/deliveries');
    for (const { id } of deliveries) {
      const delivery = await tocsin.get(`/deliveries/${id}`);
      expect(leaksIn(JSON.stringify(delivery))).toEqual([]);
      const [attempt] = delivery['attempts'];
      if (delivery['destination'].channelType !== 'webhook') continue;
      const body = Buffer.from(attempt.responseBody, attempt.responseEncoding).toString('latin1');
      expect(body).toContain('[redacted]');
      expect(leaksIn(body)).toEqual([]);
    }
    for (const list of ['/webhooks', '/channels', '/audit-logs?limit=100', '/notifications', '/events'])
      expect(leaksIn(JSON.stringify(await tocsin.get(list)))).toEqual([]);
  });
});
