import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sha256Hex } from '../../domain/hash.ts';
import { toWireId } from '../../domain/id.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../receivers/smtp.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, waitFor, type Instance, type Json } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('the proof of an escalation', () => {
  let tocsin: Instance;
  let mail: SmtpReceiver;
  let directory: string;

  beforeAll(async () => {
    [tocsin, mail, directory] = await Promise.all([
      startInstance(),
      startSmtpReceiver({ security: 'none' }),
      mkdtemp(join(tmpdir(), 'tocsin-proof-')),
    ]);
    const settings = { host: mail.host, port: mail.port, security: 'none', from: 'tocsin@example.com' };
    const { id } = await tocsin.call('POST', '/channels', { name: 'sender', type: 'email', settings });
    await tocsin.call('PATCH', '/organization', { settings: { senderChannels: { email: id } } });
  });
  afterAll(async () => {
    await tocsin.stop();
    await mail.close();
    await rm(directory, { recursive: true });
  });

  /** A stranger's machine: the file and the script, nothing else. */
  async function verify(text: string): Promise<{ status: number; output: string }> {
    const file = join(directory, 'proof.json');
    await writeFile(file, text);
    const script = new URL('../../bin/tocsin-verify.mjs', import.meta.url).pathname;
    return new Promise((resolve) => {
      const child = execFile(process.execPath, [script, 'escalation', file], { env: {} }, (_error, stdout, stderr) =>
        resolve({ status: child.exitCode ?? -1, output: stdout + stderr }),
      );
    });
  }

  test('shows a stranger that a person was paged by mail, that it was delivered, and that the person answered by the link in it', async () => {
    const member = await tocsin.api.buildMember(tocsin.organization, 'member');
    await tocsin.call('POST', '/escalation-policies', {
      name: 'proof',
      trigger: { types: ['alert.fired'] },
      tiers: [{ targets: [{ kind: 'user', id: toWireId('user', member.id) }], timeout: 'PT10M' }],
    });
    const subject = 'Disk of db-9 is full';
    await tocsin.post({ type: 'alert.fired', severity: 'high', subject, dedupKey: 'proof' });
    const [sent] = await waitFor(
      async () => mail.mails.filter(({ raw }) => raw.includes(subject)),
      (mails) => mails.length === 1,
      { what: 'the page' },
    );
    const text = sent!.raw.replaceAll('=\r\n', '').replaceAll('=3D', '=');
    const [, path] = /Acknowledge: http:\/\/[^/]+(\/l\/[A-Za-z0-9_-]+)/.exec(text)!;
    const answer = await fetch(new URL(path!, tocsin.api.url), {
      method: 'POST',
      body: new URLSearchParams({ confirm: '1' }),
      headers: { 'User-Agent': 'phone/7' },
    });
    expect(answer.status).toBe(200);

    const { data } = await tocsin.get('/escalations');
    const proofOf = async () => tocsin.api.request('GET', `/escalations/${data[0].id}/proof`, { key: tocsin.organization.key });
    const documentsOf = (body: Json): Json[] => body['entries'].map(({ canonical }: Json) => JSON.parse(canonical));
    const exported = await waitFor(
      proofOf,
      ({ body }) => body['complete'] && documentsOf(body).some(({ action }) => action === 'delivery.attempt'),
      { what: 'the attempt in the log' },
    );
    const documents = documentsOf(exported.body);
    const bodySha256 = sha256Hex(sent!.raw);
    expect(documents.find(({ action }) => action === 'delivery.attempt')).toMatchObject({
      status: 'success',
      targets: [{ type: 'channel' }, { type: 'contact_method', id: member.id }, { type: 'user', id: member.id }],
      correlation: { escalationId: exported.body['escalation'].uuid, root: documents[0]!['correlation'].eventId },
      details: { outcome: 'delivered', firing: 1, purpose: 'page', bodySha256, messageId: expect.stringMatching(/^<dlv_.*@example.com>$/) },
    });
    expect(documents.find(({ action }) => action === 'escalation.acknowledge')).toMatchObject({
      actor: { type: 'user', id: member.id },
      details: { path: 'link', proof: 'link_token', linkId: expect.any(String), already: false },
    });

    const verified = await verify(exported.text);
    expect(verified).toMatchObject({ status: 0, output: expect.stringContaining('entries verified') });
    expect(verified.output).toMatch(
      new RegExp(
        `PROVEN {2}user ${member.id} paged at \\S+Z, delivered at \\S+Z; acknowledged at \\S+Z by member \\(user ${member.id}\\) with proof link_token`,
      ),
    );
    expect(verified.output).toContain(`body SHA-256 ${bodySha256}`);
    expect(verified.output).toMatch(/path link, link [-0-9a-f]{36}, address 127\.0\.0\.1, user agent "phone\/7"/);
    // the token that the link was made with is nowhere in it
    expect(exported.text).not.toContain(path!.slice('/l/'.length));

    expect((await verify(exported.text.replace('link_token', 'link_tokem'))).status).toBe(1);
  });
});
