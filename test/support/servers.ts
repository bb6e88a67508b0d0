/** What test files ask of the run's servers (broker.ts): a database, a namespace. */
import { request } from 'node:http';
import { describe } from '@jest/globals';
import { Connection } from '@temporalio/client';
import { prepareNamespace } from '../../temporal/namespace.ts';
import type { TemporalAnswer } from './broker.ts';

export type TestDatabase = {
  /** The superuser's: it may `set role` to any of ours. */
  readonly databaseUrl: string;
  /** Ends whatever is still connected. */
  drop(): Promise<void>;
};

/** An empty, migrated database of its own. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { name, databaseUrl } = await ask<{ name: string; databaseUrl: string }>('POST', '/databases');
  return {
    databaseUrl,
    async drop() {
      await ask('DELETE', `/databases/${name}`);
    },
  };
}

export type TestNamespace = {
  /** host:port of the frontend. */
  readonly address: string;
  readonly namespace: string;
};

let namespaces = 0;

/** A namespace of its own on the run's Temporal server, with our search attributes, ready for workflows. */
export async function createTestNamespace(): Promise<TestNamespace> {
  const address = await findTestTemporal();
  const namespace = `test-${process.pid}-${Date.now().toString(36)}-${(namespaces += 1)}`;
  const connection = await Connection.connect({ address });
  try {
    await prepareNamespace(connection, namespace);
  } finally {
    await connection.close();
  }
  return { address, namespace };
}

/** host:port of the run's Temporal server. */
export async function findTestTemporal(): Promise<string> {
  const answer = await ask<TemporalAnswer>('GET', '/temporal');
  if ('address' in answer) return answer.address;
  throw new Error(answer.unavailable);
}

/**
 * `describe` for tests that need Temporal: skipped, and reported so, where there is none to be had. In CI that is a failure. Await it
 * at the top of the file, outside any test, because a first build of the server takes minutes:
 *
 *     const describeWithTemporal = await withTemporal();
 */
export async function withTemporal(): Promise<typeof describe | typeof describe.skip> {
  const answer = await ask<TemporalAnswer>('GET', '/temporal');
  if ('address' in answer) return describe;
  if (process.env['CI'] !== undefined) throw new Error(answer.unavailable);
  process.stderr.write(`${answer.unavailable}\n`);
  return describe.skip;
}

async function ask<T>(method: string, path: string): Promise<T> {
  const socketPath = process.env['TOCSIN_TEST_BROKER'];
  if (socketPath === undefined) throw new Error('The test servers are missing: run this file with npm test.');
  const { statusCode, body } = await new Promise<{ statusCode: number | undefined; body: string }>((resolve, reject) => {
    // A connection of its own: one that was kept may be closed by the broker just as it is used again.
    const call = request({ socketPath, method, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ statusCode: response.statusCode, body }));
    });
    call.once('error', reject).end();
  });
  const answer = JSON.parse(body) as T & { error?: string };
  if (statusCode !== 200) throw new Error(`The test servers failed: ${answer.error}`);
  return answer;
}
