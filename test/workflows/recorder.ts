/**
 * Records the histories that replay.test.ts replays, from real instances:
 *
 *     npm run jest -- --testMatch '<rootDir>/test/workflows/record-*.ts' -t '<the path that is new>'
 *
 * Run it when a workflow is added or learns a new path, never to make a failing replay pass: workflows that are under way when a new
 * version is deployed have the old histories.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import pg from 'pg';
import { type Instance, waitFor } from '../scenarios/instance.ts';
import { closedHistory } from './history.ts';

const directory = new URL('histories/', import.meta.url);

export interface Recorder {
  /** Writes the history of a workflow once it is closed; of an execution that another continues by its own run id. */
  record(name: string, workflowId: string, runId?: string): Promise<void>;
  /** The workflow that the query finds, once there is just one. */
  only(query: string): Promise<string>;
  /** Statements that need this table fail until `work` is done. */
  whileAway(table: string, work: () => Promise<unknown>): Promise<void>;
  /** Whoever wants to write to this table waits until `work` is done. */
  whileHeld(table: string, work: () => Promise<unknown>): Promise<void>;
}

export function createRecorder({ client, api }: Pick<Instance, 'client' | 'api'>): Recorder {
  const onDatabase = async (work: (database: pg.Client) => Promise<void>): Promise<void> => {
    const database = new pg.Client({ connectionString: api.databaseUrl });
    await database.connect();
    try {
      await work(database);
    } finally {
      await database.end();
    }
  };
  return {
    async record(name, workflowId, runId) {
      const history = historyToJSON(await closedHistory(client, workflowId, runId));
      await mkdir(directory, { recursive: true });
      const recorded = { workflowId, history: JSON.parse(history, withoutStack) as unknown };
      await writeFile(new URL(`${name}.json`, directory), `${JSON.stringify(recorded, null, 1)}\n`);
    },
    async only(query) {
      const list = async () => Array.fromAsync(client.workflow.list({ query }), ({ workflowId }) => workflowId);
      const [workflowId] = await waitFor(list, ({ length }) => length === 1, { what: query });
      return workflowId!;
    },
    whileAway: async (table, work) =>
      onDatabase(async (database) => {
        await database.query(`alter table ${table} rename to ${table}_away`);
        try {
          await work();
        } finally {
          await database.query(`alter table ${table}_away rename to ${table}`);
        }
      }),
    whileHeld: async (table, work) =>
      onDatabase(async (database) => {
        await database.query('begin');
        await database.query(`lock table ${table} in exclusive mode`);
        try {
          await work();
        } finally {
          await database.query('rollback');
        }
      }),
  };
}

/** Long, and of nobody's checkout but the recorder's. */
function withoutStack(key: string, value: unknown): unknown {
  return key === 'stackTrace' ? undefined : value;
}
