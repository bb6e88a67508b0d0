import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Published, PublishOrder } from './publisher.ts';
import type { Received } from './receiver.ts';

export interface Instance {
  apiUrl: string;
  apiKey: string;
  temporalAddress: string;
  temporalNamespace: string;
  databaseUrl: string;
  pids: Record<string, number>;
  post(path: string, body: unknown): Promise<unknown>;
  stop(): Promise<void>;
}

const readyMs = 600_000;

/** A whole instance of `npm start` on a directory of its own, whose log goes to a file: what a terminal would cost is not Tocsin's. */
export async function startInstance(env: Record<string, string>): Promise<Instance> {
  const dataDir = mkdtempSync(join(tmpdir(), 'tocsin-bench-'));
  const apiKey = `tsn_${'bench'.repeat(8)}`;
  const child = spawn(process.execPath, [join(import.meta.dirname, '../embedded/start.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      TOCSIN_DATA_DIR: dataDir,
      TOCSIN_PORT: '0',
      TOCSIN_BOOTSTRAP_KEY: apiKey,
      TOCSIN_EGRESS_ALLOW: '127.0.0.1',
      ...env,
    },
  });
  child.stdout.resume();
  const readyFile = join(dataDir, 'ready.json');
  for (const deadline = Date.now() + readyMs; !existsSync(readyFile);) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('The instance did not start.');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const ready = JSON.parse(readFileSync(readyFile, 'utf8')) as Omit<Instance, 'apiKey' | 'post' | 'stop'>;
  return {
    ...ready,
    apiKey,
    async post(path, body) {
      const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
      const answer = await fetch(`${ready.apiUrl}/api/v2${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    async stop() {
      child.kill('SIGINT');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export interface Driver {
  /** Where the endpoint listens. */
  endpointUrl: string;
  publish(order: PublishOrder): Promise<Published>;
  received(): Promise<Received>;
  stop(): void;
}

/** Publisher and endpoint, each a process. */
export async function startDriver(): Promise<Driver> {
  const publisher = fork(join(import.meta.dirname, 'publisher.ts'));
  const receiver = fork(join(import.meta.dirname, 'receiver.ts'));
  const { port } = await message<{ port: number }>(receiver);
  return {
    endpointUrl: `http://127.0.0.1:${port}/`,
    publish: async (order) => ask<Published>(publisher, order),
    received: async () => ask<Received>(receiver, {}),
    stop() {
      publisher.kill();
      receiver.kill();
    },
  };
}

async function ask<T>(child: ChildProcess, order: object): Promise<T> {
  const answer = message<T>(child);
  child.send(order);
  return answer;
}

async function message<T>(child: ChildProcess): Promise<T> {
  const [answer] = (await once(child, 'message')) as [T];
  return answer;
}
