/**
 * How much the audit log costs: entries appended per second against raw inserts into the same columns and indexes, by the same client
 * code, on the same server, in turns. What raw leaves out is what makes it a log: the checks, row security, the queue, the sequencer.
 * Alone: `node bench/audit.ts [seconds per turn] [postgres URL of a superuser]`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MikroORM } from '@mikro-orm/postgresql';
import pg from 'pg';
import { appendAudit, auditStatements } from '../db/audit-log.ts';
import { migrate, openDatabase } from '../db/mikro-orm.config.ts';
import { pipelineInOrganization } from '../db/pipeline.ts';
import { createSequencer } from '../db/sequencer.ts';
import { inOrganization } from '../db/tenant.ts';
import type { AuditDraft } from '../domain/audit/draft.ts';
import { startPostgres } from '../embedded/postgres.ts';
import { createLogger } from '../log.ts';

export interface AuditBenchOptions {
  /** A superuser's; two databases are made beside it, and dropped. Default: a PostgreSQL of its own, with fsync on. */
  databaseUrl?: string | undefined;
  /** Of each turn; every kind has two turns a side. Default 5. */
  seconds?: number;
  /** Takes the lines for people. */
  print: (line: string) => void;
}

export interface AuditRate {
  readonly name: string;
  /** Entries per second. */
  readonly log: number;
  readonly raw: number;
  /** log / raw */
  readonly ratio: number;
  readonly goal: number;
}

export interface AuditFigures {
  readonly rates: readonly AuditRate[];
  /** Entries that still waited for the sequencer when the last writer stopped, and how long it took to empty the queue. */
  readonly waiting: number;
  readonly drainedMs: number;
}

const orgId = '11111111-1111-4111-8111-111111111111';
const id = '0198c0de-0000-7000-8000-00000000000a';

/** As they are written most: attempts, which hold nothing private, and accepted events, which name who posted them. */
const drafts: readonly AuditDraft[] = [
  {
    orgId,
    action: 'delivery.attempt',
    actor: { type: 'system', id: 'system', subsystem: 'delivery' },
    resource: { type: 'delivery', id },
    targets: [{ type: 'webhook', id, name: 'Deploys' }],
    correlation: { eventId: id, deliveryId: id, workflowId: `deliver/${id}` },
    details: { attempt: 1, outcome: 'delivered', eventType: 'deployment.failed', state: 'delivered', durationMs: 12, statusCode: 200 },
  },
  {
    orgId,
    action: 'event.ingest',
    actor: { type: 'service_account', id, name: 'deploy pipeline', apiTokenId: id, apiTokenName: 'ci' },
    resource: { type: 'event', id },
    projectId: id,
    http: { method: 'POST', route: '/api/v2/events', status: 202 },
    ip: '192.0.2.1',
    userAgent: 'node',
    correlation: { eventId: id, requestId: id },
    details: { eventType: 'deployment.failed', severity: 'high', sent: 1, suppressed: 0 },
  },
];

interface Kind {
  readonly name: string;
  readonly goal: number;
  readonly connections: number;
  readonly entries: number;
}

const kinds: readonly Kind[] = [
  { name: 'single, 32 connections', goal: 0.45, connections: 32, entries: 1 },
  { name: 'bulk of 500, 2 connections', goal: 0.6, connections: 2, entries: 500 },
];

/** Runs all turns and prints what came out. */
export async function benchAudit({ databaseUrl, seconds = 5, print }: AuditBenchOptions): Promise<AuditFigures> {
  const figures = databaseUrl === undefined ? await withPostgres((url) => measure(url, seconds)) : await measure(databaseUrl, seconds);
  for (const line of describe(figures)) print(line);
  return figures;
}

async function withPostgres<T>(work: (databaseUrl: string) => Promise<T>): Promise<T> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tocsin-bench-'));
  chmodSync(dataDir, 0o755); // as root the server runs as another user, who must reach it
  try {
    const postgres = await startPostgres({ dataDir, output: 'ignore' });
    try {
      return await work(postgres.databaseUrl);
    } finally {
      await postgres.stop();
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function measure(databaseUrl: string, seconds: number): Promise<AuditFigures> {
  const admin = new pg.Client({ connectionString: databaseUrl });
  await admin.connect();
  const names = { log: `bench_log_${process.pid}`, raw: `bench_raw_${process.pid}` };
  const urls = { log: withDatabase(databaseUrl, names.log), raw: withDatabase(databaseUrl, names.raw) };
  let sequencer: ChildProcess | undefined;
  const orms: MikroORM[] = [];
  try {
    for (const name of Object.values(names)) await admin.query(`create database ${name}`);
    for (const url of Object.values(urls)) await migrate(url);
    await makeRaw(urls.raw);
    const [log, raw] = [await openWriters(urls.log), await openWriters(urls.raw)];
    orms.push(log, raw);
    // a process of its own, as in production: its work competes for the cores, not for the writers' event loop
    sequencer = fork(import.meta.filename, ['sequence', urls.log], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const rates: AuditRate[] = [];
    for (const kind of kinds) {
      const turns = { log: [] as number[], raw: [] as number[] };
      // in turns, so that a change of the machine's mood meets both; the first, discarded, warms both up
      for (const [i, side] of (['log', 'raw', 'log', 'raw', 'raw', 'log'] as const).entries()) {
        const rate = await write(side === 'log' ? log : raw, kind, i < 2 ? 1 : seconds);
        if (i >= 2) turns[side].push(rate);
      }
      const [logRate, rawRate] = [mean(turns.log), mean(turns.raw)];
      rates.push({ name: kind.name, log: logRate, raw: rawRate, ratio: logRate / rawRate, goal: kind.goal });
    }
    return { rates, ...(await drain(urls.log)) };
  } finally {
    sequencer?.kill();
    for (const orm of orms) await orm.close(true);
    for (const name of Object.values(names)) await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
}

async function openWriters(databaseUrl: string): Promise<MikroORM> {
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_app', poolMax: Math.max(...kinds.map(({ connections }) => connections)) });
  await inOrganization(orm, orgId, (em) => appendAudit(em, drafts)); // which also measures the clock
  return orm;
}

/** @returns entries per second */
async function write(orm: MikroORM, { connections, entries }: Kind, seconds: number): Promise<number> {
  const startedAt = performance.now();
  let written = 0;
  const writers = Array.from({ length: connections }, async (_, writer) => {
    for (let round = writer; performance.now() - startedAt < seconds * 1_000; round += 1) {
      const batch = Array.from({ length: entries }, (_unused, i) => drafts[(round + i) % drafts.length]!);
      await pipelineInOrganization(orm, orgId, auditStatements(batch).statements);
      written += entries;
    }
  });
  await Promise.all(writers);
  return (written / (performance.now() - startedAt)) * 1_000;
}

/** The same tables, indexes and function, without what makes them a log. */
async function makeRaw(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const checks = await client.query<{ name: string }>(
      `select conname as name from pg_constraint where conrelid = 'audit.entry'::regclass and contype = 'c'`,
    );
    for (const { name } of checks.rows) await client.query(`alter table audit.entry drop constraint ${name}`);
    await client.query('alter table audit.entry_private drop constraint entry_private_parts');
    for (const table of ['entry', 'entry_private']) await client.query(`alter table audit.${table} disable row level security`);
    const found = await client.query<{ text: string }>(`select pg_get_functiondef('audit.append'::regproc) as text`);
    const definition = found.rows[0]!.text;
    const withoutQueue = definition
      .replace(/\n {2}insert into pending [^;]*;/, '\n  select count(*) into strict written from draft;')
      .replace('\nbegin\n', '\ndeclare written bigint;\nbegin\n');
    if (withoutQueue.includes('pending') || !withoutQueue.includes('into strict'))
      throw new Error('audit.append is not what this benchmark knows');
    await client.query(withoutQueue);
  } finally {
    await client.end();
  }
}

async function drain(databaseUrl: string): Promise<{ waiting: number; drainedMs: number }> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const startedAt = performance.now();
  let waiting: number | undefined;
  for (;;) {
    const { rows } = await client.query<{ n: number }>('select count(*)::int as n from audit.pending');
    waiting ??= rows[0]!.n;
    if (rows[0]!.n === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await client.end();
  return { waiting, drainedMs: performance.now() - startedAt };
}

function describe({ rates, waiting, drainedMs }: AuditFigures): string[] {
  const round = (value: number): string => Math.round(value).toLocaleString('en');
  return [
    ...rates.map(
      ({ name, log, raw, ratio, goal }) =>
        `audit appends/s, ${name}: ${round(log)} with the log, ${round(raw)} raw, ratio ${ratio.toFixed(2)} (goal >= ${goal})`,
    ),
    `audit sequencer: ${round(waiting)} entries waited when the writers stopped, all had their index ${round(drainedMs)} ms later`,
  ];
}

async function sequence(databaseUrl: string): Promise<void> {
  const orm = await openDatabase({ databaseUrl, role: 'tocsin_sequencer', poolMax: 2 });
  createSequencer({ orm, log: createLogger({ process: 'bench', level: 'error' }) }).start();
}

function withDatabase(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.href;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [first = '5', second] = process.argv.slice(2);
  if (first === 'sequence') await sequence(second!);
  else await benchAudit({ databaseUrl: second, seconds: Number(first), print: (line) => void process.stdout.write(`${line}\n`) });
}
