/** The chapter about somebody who has to act: a page that nobody answers climbs, and the link in the next one ends it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Escalation, TimelineEntry } from './client.ts';
import { demand, until } from './fault.ts';
import { bold, dim, heading, print, red, stamped, word } from './print.ts';
import type { Stage } from './story.ts';

const address = 'on-call@example.com';
const subject = 'Replication of the orders database has stopped';

/** A person's address counts once a code that was sent to it has come back. */
export async function showContact({ api, receivers, destinations }: Stage): Promise<string> {
  heading('Who can be paged: an address counts once its code has come back');
  await api.patch('/organization', { settings: { senderChannels: { email: destinations.mailId } } });
  const { id: userId } = await api.get<{ id: string }>('/me');
  const { id } = await api.post<{ id: string }>('/contact-methods', { channelType: 'email', address, page: true }, 201);
  const code = await until('the code has arrived', async () => {
    const mail = receivers.smtp.mails.find(({ to, raw }) => to.includes(address) && raw.includes('is your code'));
    return mail === undefined ? undefined : /^Subject: .*?(\d{6}) is your code/m.exec(mail.raw)?.[1];
  });
  const { verifiedAt } = await api.post<{ verifiedAt: string | null }>(`/contact-methods/${id}/verify`, { code }, 200);
  demand(verifiedAt !== null, 'The code of the mail did not verify the address.');
  print(`  ${address}: ${word('verified')} ${dim(`by the code ${code} of the mail`)}`);
  return userId;
}

/** Tier 1 is the team's channel, tier 2 a person; nobody answers until the person follows the link. */
export async function showEscalation({ api, receivers, destinations, instance }: Stage, userId: string): Promise<string> {
  heading('An escalation: nobody answers the channel, so a person is paged');
  await api.post(
    '/escalation-policies',
    {
      name: 'databases',
      trigger: { types: ['alert.*'], matchers: [{ key: 'label.service', op: '=', value: 'orders' }] },
      tiers: [
        { targets: [{ kind: 'channel', id: destinations.slackId }], timeout: 'PT2S' },
        { targets: [{ kind: 'user', id: userId }], timeout: 'PT1M' },
      ],
      acknowledgementTimeout: 'PT30M',
    },
    201,
  );
  const event = { type: 'alert.fired', severity: 'critical', subject, labels: { service: 'orders' }, dedupKey: 'orders-replication' };
  const { id: eventId } = await api.post<{ id: string }>('/events', event, 202);
  stamped(`${bold('→')} ${bold('alert.fired')} ${dim(subject)}`);

  const page = await until('the page of tier 2 has arrived', async () =>
    receivers.smtp.mails.find(({ to, raw }) => to.includes(address) && raw.includes(subject)),
  );
  const { data } = await api.get<{ data: Escalation[] }>('/escalations?state=triggered');
  const [escalation] = data;
  demand(escalation !== undefined && escalation.tier === 2, `Event ${eventId} did not climb to tier 2.`);
  print(
    `  GET /escalations/${escalation.id}: ${word(escalation.state)}, tier ${escalation.tier}, next ${dim(`${escalation.why} at ${escalation.dueAt}`)}`,
  );

  const link = new URL(/Acknowledge: \S+(\/l\/[A-Za-z0-9_-]+)/.exec(decode(page.raw))?.[1] ?? '', instance.apiUrl);
  const read = async (): Promise<Escalation> => api.get<Escalation>(`/escalations/${escalation.id}`);
  await fetch(link);
  const looked = await read();
  demand(looked.state === 'triggered', 'Looking at the link did something.');
  print(`  GET of the link in the mail: still ${word(looked.state)} ${dim('(mail scanners look at links)')}`);
  const pressed = await fetch(link, { method: 'POST', body: new URLSearchParams({ confirm: '1' }) });
  const acknowledged = await read();
  demand(pressed.status === 200 && acknowledged.state === 'acknowledged', 'The link did not acknowledge the escalation.');
  print(`  POST of it, as its button does: ${word(acknowledged.state)}`);

  const { data: timeline } = await api.get<{ data: TimelineEntry[] }>(`/escalations/${escalation.id}/timeline`);
  for (const { at, kind, round, tier, reason, proof } of timeline)
    print(
      `    ${dim(at.slice(11, 23))}  ${`${round}.${tier}`.padEnd(4)} ${kind} ${dim([reason, proof].filter((part) => part !== null).join(', '))}`,
    );
  print(
    `  its workflow: ${instance.temporalUiUrl}/namespaces/${instance.temporalNamespace}/workflows?query=${encodeURIComponent(`WorkflowType="escalation"`)}`,
  );
  return escalation.id;
}

/** The export of what happened, checked by a script that knows nothing of this instance; then with one byte of it changed. */
export async function showProof({ api }: Stage, escalationId: string): Promise<void> {
  heading(`Its proof: GET /escalations/${escalationId}/proof, checked by a script that stands alone`);
  const proof = await until('every entry of the escalation has its place in the log', async () => {
    const text = await api.getText(`/escalations/${escalationId}/proof`);
    return (JSON.parse(text) as { complete: boolean }).complete ? text : undefined;
  });
  const honest = await verify(proof);
  demand(honest.exitCode === 0, `The proof does not verify:\n${honest.output}`);
  for (const line of honest.output.trimEnd().split('\n')) print(`  ${line}`);
  const forged = await verify(proof.replace('link_token', 'session___'));
  demand(forged.exitCode === 1, 'A proof that was altered verifies.');
  print(`  with "link_token" changed in the file: ${red(forged.output.trim().split('\n').at(-1) ?? '')}`);
}

/** As anybody would who has the file and Node, and no reason to trust Tocsin. */
async function verify(proof: string): Promise<{ exitCode: number; output: string }> {
  const directory = mkdtempSync(join(tmpdir(), 'tocsin-proof-'));
  try {
    const file = join(directory, 'proof.json');
    writeFileSync(file, proof);
    const script = join(import.meta.dirname, '../bin/tocsin-verify.mjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, 'escalation', file], { encoding: 'utf8' });
    return { exitCode: status ?? -1, output: stdout + stderr };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Quoted-printable (RFC 2045, 6.7) as far as a link needs it. */
function decode(mail: string): string {
  return mail.replace(/=\r?\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
