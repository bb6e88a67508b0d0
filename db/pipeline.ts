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
  statements: readonly Statement[],
): Promise<unknown[][]> {
  return onConnection(orm, async (client) => {
    const [, ...results] = await send(client, [beginIn(organizationId), ...compile(orm, statements), { text: 'commit' }]);
    return rowsOfCommitted(results);
  });
}

/**
 * The same in two pieces: what `first` locks and reads decides what is written. Between the two nothing else is waited for.
 * @param decide gets the rows of each statement of `first`; when it throws, nothing is committed
 * @returns what `decide` returned besides its statements
 */
export async function pipelineInTwo<T>(
  orm: MikroORM,
  organizationId: string,
  first: readonly Statement[],
  decide: (rows: unknown[][]) => { statements: readonly Statement[]; result: T },
): Promise<T> {
  return onConnection(orm, async (client) => {
    const [, ...read] = await send(client, [beginIn(organizationId), ...compile(orm, first)]);
    const { statements, result } = decide(read.map(rowsOf));
    rowsOfCommitted(await send(client, [...compile(orm, statements), { text: 'commit' }]));
    return result;
  });
}

type Statement = RawBuilder<unknown>;
type Query = { text: string; name?: string; values?: unknown[] };

async function onConnection<T>(orm: MikroORM, use: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await (await poolOf(orm)).connect();
  let broken: Error | undefined;
  try {
    return await use(client);
  } catch (error) {
    // Whatever state a half-answered pipeline left behind goes with its connection.
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.release(broken);
  }
}

function compile(orm: MikroORM, statements: readonly Statement[]): Query[] {
  const db = orm.em.fork().getKysely();
  return statements.map((statement) => {
    const { sql, parameters } = statement.compile(db);
    return { name: nameOf(sql), text: sql, values: [...parameters] };
  });
}

function beginIn(organizationId: string): Query {
  if (!uuid.test(organizationId)) throw new Error('An organization is named by its UUID');
  return { text: `begin; ${byIndex}; select set_config('app.org_id', '${organizationId}', true)` };
}

function rowsOf({ rows }: QueryResult): unknown[] {
  return rows as unknown[];
}

function rowsOfCommitted(results: QueryResult[]): unknown[][] {
  const commit = results.pop();
  if (commit?.command !== 'COMMIT') throw new Error('The transaction was not committed.');
  return results.map(rowsOf);
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * These statements look up few rows by key. A plan made while a table was nearly empty, and kept, would otherwise read all of it for each
 * group once it has grown.
 */
const byIndex = 'set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off';

async function send(client: PoolClient, queries: readonly Query[]): Promise<QueryResult[]> {
  const { stream } = client.connection;
  const pending: Array<Promise<QueryResult>> = [];
  // One write for all; a corked stream would never send even the message that ends the connection.
  stream.cork();
  try {
    for (const query of queries) pending.push(query.values === undefined ? client.query(query.text) : client.query(query));
  } finally {
    stream.uncork();
  }
  return settle(pending);
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
