/** What README.md tells people to type, typed: each block is given to a shell as it stands, but for the addresses of this run's servers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { renderSettings } from '../config.ts';
import { renderCurl } from '../embedded/announce.ts';
import { createInstance, type Instance } from './scenarios/start-instance.ts';
import { createTestDatabase, createTestNamespace, withTemporal } from './support/servers.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const documentedUrl = 'http://127.0.0.1:8400';

const blocks = [...readme.matchAll(/^(<!-- not run by the tests -->\n)?```sh\n([^]*?)^```$/gm)].map((match) => ({
  run: match[1] === undefined,
  text: match[2]!.trimEnd(),
}));

/** `.ci/run` types the second; the first is what the instance of this file does, but for the packages, which are installed. */
const installing = ['npm ci && npm start', 'npm ci && npm test'];
const commands = {
  post: findBlock('Deployment of checkout failed'),
  createWebhook: findBlock('/api/v2/webhooks'),
  readEvents: findBlock('/api/v2/events?'),
  verify: findBlock('/audit-logs/integrity'),
  demo: findBlock('npm run demo'),
  roles: findBlock('npm run worker'),
  settings: findBlock('config.ts'),
};

/** The one block that holds `part`. */
function findBlock(part: string): string {
  const [block, ...others] = blocks.filter(({ run, text }) => run && text.includes(part));
  if (block === undefined || others.length > 0)
    throw new Error(`README.md has ${others.length === 0 ? 'no' : 'more than one'} block with ${part}.`);
  return block.text;
}

function openShell(
  text: string,
  env: Record<string, string>,
): { child: ChildProcess; output: () => string; exitCode: Promise<number | null> } {
  // A group of its own, so that what it leaves in the background can be ended with it.
  const child = spawn('sh', ['-euc', text], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (part: string) => (output += part));
  return { child, output: () => output, exitCode: new Promise((resolve) => child.once('close', resolve)) };
}

async function runInShell(text: string, env: Record<string, string> = {}): Promise<string> {
  const { output, exitCode } = openShell(text, env);
  const code = await exitCode;
  if (code !== 0) throw new Error(`${text}\nended with ${code}:\n${output()}`);
  return output();
}

test('the table of settings is the one that config.ts prints, by the command that is given', async () => {
  const table = /<!-- the table of config.ts -->\n([^]*?)<!-- the end of the table -->/.exec(readme)?.[1];
  expect(table).toBe(renderSettings());
  expect(await runInShell(commands.settings)).toBe(renderSettings());
});

test('the curl is the one that npm start prints', () => {
  const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ');
  expect(oneLine(commands.post)).toBe(oneLine(renderCurl({ apiUrl: documentedUrl, apiKey: undefined })));
});

const describeWithTemporal = await withTemporal();

describeWithTemporal('against a running instance', () => {
  let instance: Instance;
  beforeAll(async () => {
    instance = createInstance({});
    await instance.start();
  }, 120_000);
  afterAll(async () => instance.remove(), 60_000);

  const curl = async (command: string): Promise<Record<string, unknown>> => {
    const own = command.replaceAll(documentedUrl, instance.ready().apiUrl);
    return JSON.parse(await runInShell(own, { TOCSIN_API_KEY: instance.apiKey })) as Record<string, unknown>;
  };

  test('each curl does what the page says', async () => {
    const posted = await curl(commands.post);
    expect(posted).toMatchObject({ id: expect.stringMatching(/^evt_/), status: 'accepted' });
    expect(await curl(commands.createWebhook)).toMatchObject({ id: expect.stringMatching(/^whk_/), eventTypes: ['deployment.*'] });
    expect(await curl(commands.readEvents)).toMatchObject({ data: [{ id: posted['id'], type: 'deployment.failed' }] });
    expect(await curl(commands.verify)).toMatchObject({ ok: true, findings: [] });
  });
});

describeWithTemporal('by itself', () => {
  test('the demo tells its story and nothing is left running', async () => {
    const output = await runInShell(commands.demo);
    expect(output).toContain('leaf_mismatch at index');
    expect(output).toContain('Everything happened as told.');
  }, 180_000);

  test('API and worker run as separate processes on servers of their own', async () => {
    const { address, namespace } = await createTestNamespace();
    const database = await createTestDatabase();
    const block = commands.roles
      .replace('postgres://tocsin:secret@127.0.0.1:5432/tocsin', database.databaseUrl)
      .replace('127.0.0.1:7233', address);
    const { child, output, exitCode } = openShell(`${block}\nwait`, { TOCSIN_PORT: '0', TEMPORAL_NAMESPACE: namespace });
    try {
      const find = async (pattern: RegExp): Promise<string> => {
        const deadline = Date.now() + 60_000;
        for (;;) {
          const found = pattern.exec(output())?.[1];
          if (found !== undefined) return found;
          if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${String(pattern)} is not in:\n${output()}`);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      };
      const apiKey = await find(/shown only now: (tsn_\S+)/);
      const apiUrl = await find(/"unit":"listening","url":"([^"]+)"/);
      await find(/"unit":"(working)"/);
      const answer = await fetch(`${apiUrl}/api/v2/system/health`, { headers: { Authorization: `Bearer ${apiKey}` } });
      expect(await answer.json()).toMatchObject({ temporal: { state: 'ok' }, workers: { state: 'ok', count: 1 } });
    } finally {
      process.kill(-child.pid!, 'SIGTERM');
      await exitCode;
      await database.drop();
    }
  }, 120_000);
});

test('no command of the page is left out, but for those that say so, which need Docker', () => {
  const others = blocks.filter(({ run, text }) =>
    run ? ![...installing, ...Object.values(commands)].includes(text) : !text.startsWith('docker compose '),
  );
  expect(others).toEqual([]);
  expect(readFileSync(join(root, '.ci/run'), 'utf8')).toContain(`\n${installing[1]}\n`);
});
