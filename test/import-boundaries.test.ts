import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '..');
const directory = mkdtempSync(join(tmpdir(), 'tocsin-boundaries-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** File, its import, and what the message must say to do instead. */
const forbidden: Array<readonly [file: string, line: string, advice: RegExp]> = [
  ['domain/rule.ts', `import { x } from '../db/x.ts'`, /domain\/ imports nothing outside itself/],
  ['domain/rule.ts', `import { z } from 'zod'`, /domain\/ imports nothing outside itself/],
  ['domain/rule.ts', `import { createHash } from 'node:crypto'`, /domain\/ imports nothing outside itself/],
  ['domain/rule.ts', `import { x } from './audit/entry.ts'`, /needs node:crypto/],
  ['domain/rule.ts', `import { readConfig } from '../config.ts'`, /take the fact/],
  ['domain/audit/entry.ts', `import { x } from '../../db/x.ts'`, /domain\/ imports nothing outside itself/],
  ['domain/audit/entry.ts', `import { readFileSync } from 'node:fs'`, /domain\/ imports nothing outside itself/],
  ['db/tenant.ts', `import { x } from '../workflows/messages.ts'`, /a type in domain/],
  ['db/tenant.ts', `import { x } from '../activities/delivery.ts'`, /start a workflow/],
  ['db/tenant.ts', `import { x } from '../api/app.ts'`, /belongs in domain/],
  ['db/tenant.ts', `import { x } from '../egress/http.ts'`, /sending and starting/],
  ['db/tenant.ts', `import { readConfig } from '../config.ts'`, /take the value as an argument/],
  ['workflows/delivery.ts', `import { x } from '../activities/delivery.ts'`, /as types only/],
  ['workflows/delivery.ts', `import { x } from '../db/tenant.ts'`, /replayed/],
  ['workflows/delivery.ts', `import { x } from '../domain/audit/entry.ts'`, /node:crypto/],
  ['workflows/delivery.ts', `import { x } from '../domain/signature.ts'`, /node:crypto/],
  ['workflows/delivery.ts', `import { z } from 'zod'`, /do it in an activity/],
  ['workflows/delivery.ts', `import { readFileSync } from 'node:fs'`, /do it in an activity/],
  ['activities/delivery.ts', `import { x } from '../workflows/delivery.ts'`, /Only workflows\/messages\.ts/],
  ['activities/delivery.ts', `import { x } from '../api/app.ts'`, /belongs in domain/],
  ['activities/delivery.ts', `import { readConfig } from '../config.ts'`, /take the value as an argument/],
  ['api/events.ts', `import { x } from '../activities/delivery.ts'`, /start a workflow/],
  ['api/events.ts', `import type { X } from '../activities/delivery.ts'`, /start a workflow/],
  ['api/events.ts', `import { x } from '../workflows/delivery.ts'`, /Only workflows\/messages\.ts/],
  ['api/events.ts', `import { x } from '../embedded/start.ts'`, /imported by none/],
  ['channels/email.ts', `import { x } from '../db/tenant.ts'`, /know no rows/],
  ['channels/email.ts', `import Handlebars from 'handlebars'`, /render\.ts/],
  ['egress/http.ts', `import { x } from '../activities/delivery.ts'`, /start a workflow/],
  ['temporal/relay.ts', `import { x } from '../workflows/delivery.ts'`, /Only workflows\/messages\.ts/],
  ['temporal/relay.ts', `import { x } from '../egress/http.ts'`, /sending belongs in activities/],
  ['embedded/start.ts', `import { x } from '../domain/rule.ts'`, /decides nothing/],
  ['embedded/start.ts', `import { x } from '../db/tenant.ts'`, /may migrate and seed/],
  ['watchdog/watchdog.ts', `import { x } from '../api/app.ts'`, /belongs in domain/],
  ['watchdog/watchdog.ts', `import { x } from '../workflows/messages.ts'`, /from outside/],
  ['bin/verify.ts', `import { x } from '../db/tenant.ts'`, /stands on domain\/audit alone/],
  ['bin/verify.ts', `import { x } from '../domain/rule.ts'`, /stands on domain\/audit alone/],
];

const allowed: Array<readonly [file: string, line: string]> = [
  ['domain/rule.ts', `import { x } from './routing.ts'`],
  ['domain/signature.ts', `import { createHmac } from 'node:crypto'`],
  ['domain/audit/entry.ts', `import { x } from '../id.ts'`],
  ['db/tenant.ts', `import { x } from '../domain/audit/entry.ts'`],
  ['db/tenant.ts', `import type { Config } from '../config.ts'`],
  ['workflows/delivery.ts', `import type { Activities } from '../activities/index.ts'`],
  ['workflows/delivery.ts', `import { x } from '../domain/retry.ts'`],
  ['workflows/delivery.ts', `import { condition } from '@temporalio/workflow'`],
  ['activities/delivery.ts', `import { x } from '../workflows/messages.ts'`],
  ['api/main.ts', `import { readConfig } from '../config.ts'`],
  ['channels/templates/render.ts', `import Handlebars from 'handlebars'`],
  ['embedded/start.ts', `import { readConfig } from '../config.ts'`],
  ['embedded/migrate.ts', `import { migrate } from '../db/mikro-orm.config.ts'`],
  ['bin/verify.ts', `import { x } from '../domain/audit/entry.ts'`],
];

type Diagnostic = { readonly message: string; readonly help?: string; readonly filename: string; readonly code: string };
const found = new Map<string, string>();
const fileOf = (index: number, file: string) => join(String(index), file);

beforeAll(() => {
  // One run over all fixtures: each is a project of its own, with our configuration at its root.
  for (const [index, [file, line]] of [...forbidden, ...allowed].entries()) {
    const path = join(directory, fileOf(index, file));
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(root, '.oxlintrc.json'), join(directory, String(index), '.oxlintrc.json'));
    writeFileSync(path, `${line};\n`);
  }
  const oxlint = join(root, 'node_modules/.bin/oxlint');
  const { stdout } = spawnSync(oxlint, ['-f', 'json', '-A', 'all', '-D', 'no-restricted-imports', '.'], {
    cwd: directory,
    encoding: 'utf8',
  });
  for (const { filename, code, message, help } of (JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics) {
    if (code.includes('no-restricted-imports')) found.set(relative(directory, join(directory, filename)), `${message} ${help ?? ''}`);
  }
});

describe('an import over a boundary fails lint, and is told where to put the thing instead', () => {
  test.each(forbidden.map((each, index) => [...each, index] as const))('%s: %s', (file, _line, advice, index) => {
    expect(found.get(fileOf(index, file)) ?? 'nothing').toMatch(advice);
  });
});

describe('what the table of layers allows passes', () => {
  test.each(allowed.map((each, index) => [...each, forbidden.length + index] as const))('%s: %s', (file, _line, index) => {
    expect(found.get(fileOf(index, file))).toBeUndefined();
  });
});

test('domain/ has no clock: time is an argument', () => {
  const files = readdirSync(join(root, 'domain'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const offenders = files.filter((name) =>
    /Date\.now\(|new Date\(\s*\)|performance\.now\(/.test(readFileSync(join(root, 'domain', name), 'utf8')),
  );
  expect(offenders).toEqual([]);
});
