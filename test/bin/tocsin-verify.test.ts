import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { type AuditDraft, prepareEntry } from '../../domain/audit/entry.ts';
import { hashLeaf, rootOf } from '../../domain/audit/merkle.ts';
import { inclusionRanges } from '../../domain/audit/proof.ts';
import { sha256Hex } from '../../domain/hash.ts';
import { newId } from '../../domain/id.ts';

const script = new URL('../../bin/tocsin-verify.mjs', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'tocsin-verify-'));
afterAll(() => rmSync(directory, { recursive: true }));

const start = Date.parse('2026-10-05T03:00:00Z');
const [organization, escalation, event, ada, bob] = ['o', 'e', 'v', 'a', 'b'].map(() => newId(start)) as [
  string,
  string,
  string,
  string,
  string,
];
const system = { type: 'system', id: 'system' } as const;
const correlation = { escalationId: escalation, eventId: event };
const about = { resource: { type: 'escalation', id: escalation }, correlation };

/** A story as the audit log tells it, a second between two entries. */
function exportStory(drafts: ReadonlyArray<Omit<AuditDraft, 'orgId'>>): string {
  const entries = drafts.map((draft, index) => {
    const at = start + index * 1_000;
    return prepareEntry({ ...draft, orgId: organization }, { id: newId(at), recordedAt: new Date(at).toISOString() });
  });
  const leaves = entries.map(({ canonical }) => hashLeaf(canonical));
  const content = {
    format: 'tocsin-escalation-proof/1',
    escalation: { id: 'esc_x', uuid: escalation },
    exportedAt: new Date(start).toISOString(),
    checkpoint: { origin: 'test', epoch: 0, size: leaves.length, rootHash: rootOf(leaves).toString('hex'), assurance: 'unsigned' },
    entries: entries.map(({ canonical, privateGroups }, index) => ({
      index,
      canonical: canonical.toString('utf8'),
      disclosures: privateGroups.flatMap(({ disclosures }) => disclosures),
      path: inclusionRanges(index, { start: 0, end: leaves.length }).map((range) =>
        rootOf(leaves.slice(range.start, range.end)).toString('hex'),
      ),
    })),
    pending: [],
    complete: true,
  };
  return JSON.stringify({ ...content, digest: sha256Hex(JSON.stringify(content)) });
}

async function verify(text: string): Promise<{ status: number; proven: string[]; missing: string[]; stderr: string }> {
  const file = join(directory, 'proof.json');
  writeFileSync(file, text);
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, 'escalation', file], (_error, stdout, stderr) => {
      const told = (word: string): string[] =>
        stdout.split('\n').flatMap((line) => (line.startsWith(`${word}  `) ? [line.slice(word.length + 2)] : []));
      resolve({ status: child.exitCode ?? -1, proven: told('PROVEN'), missing: told('MISSING'), stderr });
    });
  });
}

const trigger: Omit<AuditDraft, 'orgId'> = {
  ...about,
  action: 'escalation.trigger',
  actor: system,
  details: { policyVersion: 1, reason: 'opened' },
};
const notify = (firing: number, recipients: object[]): Omit<AuditDraft, 'orgId'> => ({
  ...about,
  action: 'escalation.notify',
  actor: system,
  details: { firing, round: 1, tier: firing, purpose: 'page', recipients },
});
const attempt = (contact: string, details: object): Omit<AuditDraft, 'orgId'> => ({
  action: 'delivery.attempt',
  actor: system,
  status: 'outcome' in details && details.outcome === 'delivered' ? 'success' : 'failure',
  resource: { type: 'delivery', id: `delivery of ${contact}` },
  targets: [{ type: 'contact_method', id: contact }],
  correlation: { ...correlation, root: event },
  details: { attempt: 1, ...details },
});
const acknowledge = (fields: Partial<AuditDraft>, details: object): Omit<AuditDraft, 'orgId'> => ({
  ...about,
  action: 'escalation.acknowledge',
  actor: { type: 'user', id: bob, name: 'Bob' },
  details: { path: 'link', proof: 'link_token', already: false, ...details },
  ...fields,
});

const contact = (id: string, userId: string) => ({ type: 'contact', id, userId });

test('every message of a firing has its own fate, and the answer after it', async () => {
  const { status, proven, stderr } = await verify(
    exportStory([
      trigger,
      notify(1, [contact('ada mail', ada), contact('ada chat', ada)]),
      attempt('ada mail', { firing: 1, outcome: 'rejected' }),
      attempt('ada chat', { firing: 1, outcome: 'delivered' }),
      notify(2, [contact('bob mail', bob)]),
      acknowledge({}, {}),
    ]),
  );
  expect([status, stderr]).toEqual([0, '']);
  const answer = `acknowledged at 2026-10-05T03:00:05.000Z by Bob (user ${bob}) with proof link_token`;
  expect(proven).toEqual([
    `user ${ada} paged at 2026-10-05T03:00:01.000Z, not delivered; ${answer}`,
    `user ${ada} paged at 2026-10-05T03:00:01.000Z, delivered at 2026-10-05T03:00:03.000Z; ${answer}`,
    `user ${bob} paged at 2026-10-05T03:00:04.000Z, no attempt recorded; ${answer}`,
  ]);
});

test('a refused acknowledgement, one of what was acknowledged already, and one before the page answer nothing', async () => {
  const { proven } = await verify(
    exportStory([
      trigger,
      acknowledge({}, {}),
      notify(1, [contact('ada mail', ada)]),
      acknowledge({ status: 'blocked', reason: 'proof_too_weak' }, {}),
      acknowledge({}, { already: true }),
    ]),
  );
  expect(proven).toEqual([`user ${ada} paged at 2026-10-05T03:00:02.000Z, no attempt recorded; not acknowledged`]);
});

test("attempts of another firing do not count, and the watchdog's are its own", async () => {
  const alarm = {
    ...notify(0, []),
    details: { purpose: 'watchdog', round: 1, tier: 1, recipients: [{ type: 'contact', id: 'ada mail' }] },
  };
  const { proven } = await verify(
    exportStory([
      trigger,
      notify(1, [contact('ada mail', ada)]),
      attempt('ada mail', { firing: 2, outcome: 'delivered' }),
      attempt('ada mail', { purpose: 'reminder', outcome: 'delivered' }),
      alarm,
      attempt('ada mail', { path: 'watchdog', outcome: 'delivered' }),
    ]),
  );
  expect(proven).toEqual([
    `user ${ada} paged at 2026-10-05T03:00:01.000Z, no attempt recorded; not acknowledged`,
    'contact ada mail paged at 2026-10-05T03:00:04.000Z, delivered at 2026-10-05T03:00:05.000Z; not acknowledged',
  ]);
});

test('what is not there is missing, and an entry of another organization or escalation is no part of it', async () => {
  expect(await verify(exportStory([acknowledge({}, {})]))).toMatchObject({
    status: 2,
    missing: ['the beginning of the escalation', 'a firing'],
  });
  const foreign = { ...trigger, resource: { type: 'escalation', id: 'another' }, correlation: { escalationId: 'another' } };
  expect(await verify(exportStory([trigger, foreign]))).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('about something else'),
  });
});
