import { hash } from 'node:crypto';
import type { MikroORM } from '@mikro-orm/postgresql';
import type { RawBuilder } from 'kysely';
import type { Pool, PoolClient, QueryResult } from 'pg';

/**
 * A whole transaction of one organization, sent in one write and answered in one read: for the statements that every event and every
 * attempt pays for, where the round trips of begin, tenant, statements and commit would cost more than the work. Statements cannot depend
 * on one another's results. Everything else uses `inOrganization`.
 *
 * The texts are prepared by name on each connection, so PostgreSQL parses and plans them once.
 * @returns the rows of each statement
 * @throws the first statement's error; nothing is committed then
 */
export async function pipelineInOrganization(
  orm: MikroORM,
  organizationId: string,
  statements: ReadonlyArray<RawBuilder<unknown>>,
): Promise<unknown[][]> {
  if (!uuid.test(organizationId)) throw new Error('An organization is named by its UUID');
  const db = orm.em.fork().getKysely();
  const compiled = statements.map((statement) => {
    const { sql, parameters } = statement.compile(db);
    return { name: nameOf(sql), text: sql, values: [...parameters] };
  });
  const client = await (await poolOf(orm)).connect();
  let broken: Error | undefined;
  try {
    return await send(client, organizationId, compiled);
  } catch (error) {
    // Whatever state a half-answered pipeline left behind goes with its connection.
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.release(broken);
  }
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * These statements look up few rows by key. A plan made while a table was nearly empty, and kept, would otherwise read all of it for each
 * group once it has grown.
 */
const byIndex = 'set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off';

async function send(
  client: PoolClient,
  organizationId: string,
  queries: Array<{ name: string; text: string; values: unknown[] }>,
): Promise<unknown[][]> {
  const { stream } = client.connection;
  const pending: Array<Promise<QueryResult>> = [];
  // One write for all; a corked stream would never send even the message that ends the connection.
  stream.cork();
  try {
    pending.push(client.query(`begin; ${byIndex}; select set_config('app.org_id', '${organizationId}', true)`));
    for (const query of queries) pending.push(client.query(query));
    pending.push(client.query('commit'));
  } finally {
    stream.uncork();
  }
  const [, ...results] = await settle(pending);
  const commit = results.pop();
  if (commit?.command !== 'COMMIT') throw new Error('The transaction was not committed.');
  return results.map(({ rows }) => rows as unknown[]);
}

/** Every answer must have arrived before the connection is used again; of several errors the first caused the others. */
async function settle(pending: Array<Promise<QueryResult>>): Promise<QueryResult[]> {
  const settled = await Promise.allSettled(pending);
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

const pools = new WeakMap<MikroORM, Promise<Pool>>();

function poolOf(orm: MikroORM): Promise<Pool> {
  let pool = pools.get(orm);
  if (pool === undefined) pools.set(orm, (pool = orm.em.getConnection().getNativeClient()));
  return pool;
}

interface Prepared {
  name: string;
  uses: number;
  /** The use at which it is prepared anew. */
  renewAt: number;
}

const prepared = new Map<string, Prepared>();
const firstRenewal = 20;
const renewalFactor = 4;

/**
 * The text decides the name, so two texts never share one. PostgreSQL keeps the plan of a prepared statement until it analyzes the tables
 * anew, and one made while they were nearly empty scans them whole. So a statement gets a new name, and with it a new plan, after 20, 80,
 * 320, ... uses: often while the tables are new, hardly ever later.
 */
function nameOf(text: string): string {
  let statement = prepared.get(text);
  if (statement === undefined) prepared.set(text, (statement = { name: '', uses: 0, renewAt: 0 }));
  if (statement.uses === statement.renewAt) {
    statement.renewAt = Math.max(firstRenewal, statement.renewAt * renewalFactor);
    statement.name = `${hash('sha256', text, 'hex').slice(0, 32)}_${statement.renewAt}`;
  }
  statement.uses += 1;
  return statement.name;
}
