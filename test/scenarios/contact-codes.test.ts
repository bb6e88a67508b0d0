import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { closedHistory, readableHistory } from '../workflows/history.ts';
import { startInstance, waitFor, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();
const address = 'ada@phone.example.com';

describeWithTemporal('a verification code', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  beforeAll(async () => {
    tocsin = await startInstance();
    mail = await startSmtpReceiver({ security: 'none' });
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com', to: ['everybody@example.com'] };
    const { id } = await tocsin.call('POST', '/channels', { name: 'Mail', type: 'email', settings });
    await tocsin.call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
  });

  /** The code of a mail's subject. */
  const codeOf = ({ raw }: { raw: string }) => /^Subject: .*?(\d{6}) is your code/m.exec(raw)![1]!;
  const codes: string[] = [];
  let path: string;

  test('reaches its address alone, and verifies it', async () => {
    const { id } = await tocsin.call('POST', '/contact-methods', { channelType: 'email', address, page: true });
    path = `/contact-methods/${id}`;
    const [first] = await mail.waitForMails(1);
    expect(first!.to).toEqual([address]);
    expect(await tocsin.call('POST', `${path}/send-code`)).toMatchObject({ success: true, statusCode: null, errorCode: null });
    const [, second] = await mail.waitForMails(2);
    codes.push(codeOf(first!), codeOf(second!));
    // the earlier one is void
    if (codes[0] !== codes[1]) {
      const { status } = await tocsin.api.request('POST', `${path}/verify`, { key: tocsin.organization.key, body: { code: codes[0] } });
      expect(status).toBe(422);
    }
    expect(await tocsin.call('POST', `${path}/verify`, { code: codes[1] })).toMatchObject({ verification: null, page: true });
    expect(mail.mails).toHaveLength(2);
  });

  test('that cannot be sent is none', async () => {
    mail.script.rcpt = { 'gone@example.com': { status: 550, message: 'no such user' } };
    const { id } = await tocsin.call('POST', '/contact-methods', { channelType: 'email', address: 'gone@example.com' });
    const read = () => tocsin.get(`/contact-methods/${id}`);
    await waitFor(read, ({ verification }) => verification.state === 'code_needed', { what: 'the address' });
    expect(await tocsin.call('POST', `/contact-methods/${id}/send-code`)).toMatchObject({ success: false, errorCode: 'smtp_5yz' });
    expect(mail.mails).toHaveLength(2);
  });

  test('is in no row, no history and no log line, nor is the address in a history', async () => {
    const client = new pg.Client({ connectionString: tocsin.api.databaseUrl });
    await client.connect();
    const { rows: tables } = await client.query<{ name: string }>(
      `select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace in ('public'::regnamespace, 'audit'::regnamespace)`,
    );
    // as a word: six digits may be part of some number
    const leaks: string[] = [];
    const search = (where: string, text: string) => {
      for (const code of codes) if (new RegExp(`(?<![0-9a-f])${code}(?![0-9a-f])`).test(text)) leaks.push(`${where}: ${code}`);
    };
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
      for (const { text } of rows) search(name, text);
    }
    await client.end();
    let workflows = 0;
    for await (const { workflowId } of tocsin.client.workflow.list({ query: `WorkflowType = 'destinationTest'` })) {
      workflows += 1;
      const history = readableHistory(await closedHistory(tocsin.client, workflowId));
      search(workflowId, history);
      expect(history).not.toContain(address);
    }
    search('log', tocsin.workerLog.join('') + JSON.stringify(tocsin.api.logLines));
    expect(workflows).toBeGreaterThanOrEqual(4);
    expect(leaks).toEqual([]);
  });
});
