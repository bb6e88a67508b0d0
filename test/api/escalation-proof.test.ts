import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MikroORM } from '@mikro-orm/postgresql';
import { openDatabase } from '../../db/mikro-orm.config.ts';
import { createSequencer } from '../../db/sequencer.ts';
import { hashLeaf } from '../../domain/audit/merkle.ts';
import { verifyInclusion } from '../../domain/audit/proof.ts';
import { sha256Hex } from '../../domain/hash.ts';
import { toWireId } from '../../domain/id.ts';
import { createStage, type OpenEscalation } from './escalation-stage.ts';
import { startApi } from './start-api.ts';
import type { TestAnswer, TestApi, TestOrganization } from './start-api.ts';

const script = new URL('../../bin/tocsin-verify.mjs', import.meta.url);
/** Not the server's own code, so it has no types. */
const { readExport } = (await import(script.href)) as { readExport: (file: Buffer) => unknown };

let api: TestApi;
let ours: TestOrganization;
let stage: ReturnType<typeof createStage>;
let sequencing: MikroORM;
const directory = mkdtempSync(join(tmpdir(), 'tocsin-proof-'));

beforeAll(async () => {
  api = await startApi();
  ours = await api.buildOrganization('Ours');
  stage = createStage(api);
  sequencing = await openDatabase({ databaseUrl: api.databaseUrl, role: 'tocsin_sequencer', poolMax: 2 });
});
afterAll(async () => {
  await sequencing.close(true);
  await api.stop();
  rmSync(directory, { recursive: true });
});

type Shown = TestAnswer['body'];
const proofOf = async ({ id, organization: { key } }: OpenEscalation) => api.request('GET', `/escalations/${id}/proof`, { key });

/** Everything that is committed gets its place; nothing later does. */
async function sequenced(): Promise<void> {
  const sequencer = createSequencer({ orm: sequencing, log: api.deps.log });
  sequencer.start();
  while ((await sequencer.lag()).entries > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await sequencer.stop();
}

/** Runs the script as a stranger would. */
async function run(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script.pathname, ...args], (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

async function verify(text: string, ...args: string[]) {
  const file = join(directory, 'proof.json');
  writeFileSync(file, text);
  return run('escalation', file, ...args);
}

/** The proof as its text, with the digest that fits it. */
function seal({ digest: _digest, ...content }: Shown): string {
  return JSON.stringify({ ...content, digest: sha256Hex(JSON.stringify(content)) });
}
const documentsOf = ({ entries }: Shown): Shown[] => entries.map(({ canonical }: Shown) => JSON.parse(canonical));

describe('the proof of an escalation', () => {
  test('holds its entries with the paths to the head of the log, through full tiles and the open one', async () => {
    const escalation = await stage.openEscalation(ours, { policy: { acknowledgementTimeout: null } });
    // entries of others around it, more than a tile holds
    const events = Array.from({ length: 700 }, () => ({ type: 'job.completed' }));
    await api.request('POST', '/events/batch', { key: ours.key, body: { events } });
    await escalation.join({ severity: 'critical' });
    await escalation.elapse();
    await escalation.command('acknowledge', { note: 'Mine.' }, { headers: { 'User-Agent': 'pager/2' } });
    await escalation.command('resolve');
    await sequenced();
    const { status, body } = await proofOf(escalation);
    expect(status).toBe(200);
    expect(body).toMatchObject({ escalation: { id: escalation.id, uuid: escalation.uuid }, pending: [], complete: true });
    expect(
      documentsOf(body)
        .map(({ action }) => action)
        .toSorted(),
    ).toEqual(
      [
        'event.ingest',
        'event.ingest',
        'escalation.trigger',
        'escalation.notify',
        'escalation.notify',
        'escalation.acknowledge',
        'escalation.resolve',
      ].toSorted(),
    );
    const { size, rootHash } = body['checkpoint'];
    expect(size).toBeGreaterThan(700);
    expect((await api.request('GET', '/audit-logs/integrity', { key: ours.key })).body).toMatchObject({
      treeSize: size,
      rootHash,
      ok: true,
    });
    for (const { index, canonical, path } of body['entries']) {
      const leafHash = hashLeaf(Buffer.from(canonical));
      const proof = path.map((hash: string) => Buffer.from(hash, 'hex'));
      expect(verifyInclusion({ index, leafHash }, { size, root: Buffer.from(rootHash, 'hex') }, proof)).toBe(true);
    }
    for (const document of documentsOf(body)) {
      if (document['action'].startsWith('escalation.'))
        expect(document).toMatchObject({ correlation: { escalationId: escalation.uuid, root: expect.any(String) } });
    }
    expect(documentsOf(body).find(({ action }) => action === 'escalation.acknowledge')).toMatchObject({
      details: { path: 'rest', proof: 'api_key', already: false, extend: false },
    });
    expect(documentsOf(body).find(({ action }) => action === 'escalation.notify')).toMatchObject({
      targets: [{ type: 'webhook' }],
      details: { firing: 1, round: 1, tier: 1, purpose: 'page', reason: 'opened' },
    });
  });

  test('says what has no place in the log yet, and has it a moment later', async () => {
    const escalation = await stage.openEscalation(ours);
    await sequenced();
    await escalation.command('acknowledge');
    const early = (await proofOf(escalation)).body;
    expect(early).toMatchObject({ complete: false, pending: [{ id: expect.stringMatching(/^aud_/), action: 'escalation.acknowledge' }] });
    expect(await verify(JSON.stringify(early))).toMatchObject({
      status: 2,
      stdout: expect.stringContaining('PENDING  escalation.acknowledge'),
    });
    await sequenced();
    const late = (await proofOf(escalation)).body;
    expect(late).toMatchObject({ complete: true, pending: [] });
    expect(late['entries']).toHaveLength(early['entries'].length + 1);
  });

  test('is there before anything was ever sequenced', async () => {
    const fresh = await api.buildOrganization('Fresh');
    const escalation = await stage.openEscalation(fresh);
    const { body, text } = await proofOf(escalation);
    expect(body).toMatchObject({ checkpoint: null, entries: [], complete: false });
    expect(body['pending'].length).toBeGreaterThan(2);
    expect((await verify(text)).status).toBe(2);
  });

  test('is of nobody else, and needs the permission to read the log', async () => {
    const escalation = await stage.openEscalation(ours);
    const theirs = await api.buildOrganization('Theirs');
    expect((await api.request('GET', `/escalations/${escalation.id}/proof`, { key: theirs.key })).status).toBe(404);
    const key = await api.buildKey(ours, ['monitoring.view']);
    expect((await api.request('GET', `/escalations/${escalation.id}/proof`, { key })).status).toBe(403);
    expect((await api.request('GET', `/escalations/${toWireId('escalation', ours.id)}/proof`, { key: ours.key })).status).toBe(404);
  });
});

describe('the offline verifier', () => {
  let text: string;
  let proof: Shown;
  beforeAll(async () => {
    const escalation = await stage.openEscalation(ours);
    await escalation.command('acknowledge', { note: 'Mine.' }, { headers: { 'User-Agent': 'pager/2' } });
    await sequenced();
    ({ text, body: proof } = await proofOf(escalation));
  });

  test('tells who was paged when, and who answered how, and accepts a head that was kept', async () => {
    const { rootHash, size } = proof['checkpoint'];
    const { status, stdout, stderr } = await verify(text, '--root', rootHash, '--size', String(size));
    expect([status, stderr]).toEqual([0, '']);
    const by = `owner \\(user ${ours.ownerId}\\)`;
    expect(stdout).toMatch(new RegExp(`acknowledge by ${by} with proof api_key \\(path rest, address 127.0.0.1, user agent "pager/2"\\)`));
    expect(stdout).toMatch(
      new RegExp(`PROVEN  webhook [-0-9a-f]{36} paged at .*Z, no attempt recorded; acknowledged at .*Z by ${by} with proof api_key`),
    );
    expect(stdout).toContain('as it was kept');
  });

  test('fails on any altered byte', async () => {
    const bytes = Buffer.from(text);
    expect(readExport(bytes)).toBeDefined();
    const step = Math.max(1, Math.floor(bytes.length / 400));
    let tried = 0;
    for (let at = 0; at < bytes.length; at += step) {
      for (const bit of [1, 32]) {
        const altered = Buffer.from(bytes);
        altered[at] = altered[at]! ^ bit;
        expect(() => readExport(altered)).toThrow();
        tried += 1;
      }
    }
    expect(tried).toBeGreaterThan(400);
    expect(await verify(`${text.slice(0, -3)}0"}`)).toMatchObject({ status: 1, stderr: expect.stringMatching(/^ALTERED {2}/) });
    expect((await verify(text.slice(0, -1))).status).toBe(1);
    expect((await verify(`${text} `)).status).toBe(1);
  });

  const last = (body: Shown): Shown => body['entries'].at(-1);
  test.each<[string, (body: Shown) => void, RegExp]>([
    [
      'another actor',
      (body) => (last(body)['canonical'] = last(body)['canonical'].replace(/"id":"[-0-9a-f]{36}","type":"user"/, '"id":"0","type":"user"')),
      /do not lead to the root/,
    ],
    [
      'another proof',
      (body) => (last(body)['canonical'] = last(body)['canonical'].replace('api_key', 'session')),
      /do not lead to the root/,
    ],
    ['another place', (body) => (last(body)['index'] -= 1), /do not lead to the root/],
    ['a shorter path', (body) => last(body)['path'].pop(), /do not lead to the root/],
    ['a larger log', (body) => (body['checkpoint'].size *= 2), /do not lead to the root/],
    ['another root', (body) => (body['checkpoint'].rootHash = '0'.repeat(64)), /do not lead to the root/],
    ['an entry twice', (body) => body['entries'].push(last(body)), /comes twice/],
    ['the entries of another escalation', (body) => (body['escalation'].uuid = ours.id), /about something else/],
    [
      'an invented private value',
      (body) => last(body)['disclosures'].push(Buffer.from('["c2FsdA","ip","192.0.2.1"]').toString('base64url')),
      /is not the one that was committed to/,
    ],
    ['a private value twice', (body) => last(body)['disclosures'].push(last(body)['disclosures'][0]), /disclosed twice/],
    ['an entry that is not one', (body) => body['entries'].push({}), /malformed/],
  ])('finds %s even where the digest was made to fit', async (_, alter, fault) => {
    const body = structuredClone(proof);
    alter(body);
    expect(await verify(seal(body))).toMatchObject({ status: 1, stderr: expect.stringMatching(fault) });
  });

  test('finds a log that was rewritten as a whole by a head that was kept, and says when there is none', async () => {
    expect(await verify(text, '--root', '0'.repeat(64))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('not the one that was kept'),
    });
    expect(await verify(text, '--size', '1')).toMatchObject({ status: 1, stderr: expect.stringContaining('another size') });
    expect((await verify(text)).stdout).toContain('not compared with a head kept elsewhere');
  });

  test('does without private values that are not to be shown', async () => {
    const body = structuredClone(proof);
    for (const entry of body['entries']) entry.disclosures = [];
    const { status, stdout } = await verify(seal(body));
    expect(status).toBe(0);
    expect(stdout).toContain(`acknowledged at`);
    expect(stdout).not.toContain('127.0.0.1');
  });

  test('says how it is used', async () => {
    expect(await run()).toMatchObject({ status: 3, stderr: expect.stringMatching(/^usage: /) });
    expect(await run('escalation', '/no/such/file')).toMatchObject({ status: 3, stderr: expect.stringContaining('ENOENT') });
    expect((await verify(text, '--roof', 'x')).status).toBe(3);
  });
});
