import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ConfigError, egressOptions, readConfig, readServerConfig, renderSettings, type Environment } from '../config.ts';
import { createAddressPolicy } from '../egress/addresses.ts';

const key = Buffer.alloc(32, 7).toString('base64');

function faultsOf(env: Environment, read: (env: Environment) => unknown = readConfig): readonly string[] {
  try {
    read(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

test('an empty environment is a complete configuration with the documented defaults', () => {
  expect(readConfig({})).toMatchObject({
    host: '127.0.0.1',
    port: 8400,
    retryStandardSeconds: [0, 60, 300, 900, 3600, 14_400],
    retryJitterMinMs: 2000,
    rateLimitedWaitMs: 60_000,
    deliveryRetentionDays: 30,
    requireHttps: false,
    minIntervalMs: 60_000,
    egressAllow: [],
    deliveryRunMax: 100,
    temporal: { address: undefined, namespace: 'tocsin' },
  });
});

test('empty variables count as absent, and the answer is frozen', () => {
  const config = readConfig({ TOCSIN_PORT: '', DATABASE_URL: ' ' });
  expect(config.port).toBe(8400);
  expect(() => Object.assign(config, { port: 1 })).toThrow(TypeError);
  expect(() => Object.assign(config.temporal, { namespace: 'x' })).toThrow(TypeError);
  expect(() => (config.retryStandardSeconds as number[]).push(1)).toThrow(TypeError);
});

test('all faults are reported at once, by name, without the values of secrets', () => {
  const faults = faultsOf({
    TOCSIN_PORT: '80000',
    TOCSIN_HOST: 'not a host',
    TOCSIN_RETRY_STANDARD: 'PT0S,P1M',
    TOCSIN_BOOTSTRAP_KEY: 'tsn_tooshort',
    TOCSIN_REQUIRE_HTTPS: 'maybe',
    TOCSIN_EGRESS_ALLOW: '10.0.0.0/8,10.0.0.0/33',
    TOCSIN_LOG_LEVEL: 'loud',
    DATABASE_URL: 'mysql://root:hunter2@db',
    TEMPORAL_ADDRESS: 'nowhere',
  });
  expect(faults.map((fault) => fault.split(' ')[0]).sort()).toEqual([
    'DATABASE_URL',
    'TEMPORAL_ADDRESS',
    'TOCSIN_BOOTSTRAP_KEY',
    'TOCSIN_EGRESS_ALLOW',
    'TOCSIN_HOST',
    'TOCSIN_LOG_LEVEL',
    'TOCSIN_PORT',
    'TOCSIN_REQUIRE_HTTPS',
    'TOCSIN_RETRY_STANDARD',
    'TOCSIN_SECRET_KEYS',
  ]);
  expect(faults.join()).not.toMatch(/hunter2|tooshort/);
  expect(faults.find((fault) => fault.startsWith('TOCSIN_EGRESS_ALLOW'))).toContain('member 2');
});

test('a database of your own needs keys of your own', () => {
  const databaseUrl = 'postgres://tocsin@db/tocsin';
  expect(faultsOf({ DATABASE_URL: databaseUrl })).toEqual([expect.stringMatching(/^TOCSIN_SECRET_KEYS must be set/)]);
  expect(faultsOf({ DATABASE_URL: databaseUrl, TOCSIN_SECRET_KEYS: `k1:${key}` })).toEqual([]);
});

test('a process without servers of its own says everything it lacks', () => {
  expect(faultsOf({}, readServerConfig).map((fault) => fault.split(' ')[0])).toEqual([
    'DATABASE_URL',
    'TOCSIN_SECRET_KEYS',
    'TEMPORAL_ADDRESS',
  ]);
  const config = readServerConfig({
    DATABASE_URL: 'postgresql://db/t',
    TOCSIN_SECRET_KEYS: `k1:${key}`,
    TEMPORAL_ADDRESS: '127.0.0.1:7233',
  });
  expect(config.secretKeys).toEqual([{ id: 'k1', key: Buffer.alloc(32, 7) }]);
  expect(config.temporal.address).toBe('127.0.0.1:7233');
});

test('only a secret may come from a file: an address in one is no address', () => {
  const env = { DATABASE_URL: 'postgresql://db/t', TOCSIN_SECRET_KEYS: `k1:${key}`, TEMPORAL_ADDRESS_FILE: '/run/secrets/address' };
  expect(faultsOf(env, readServerConfig)).toEqual([expect.stringMatching(/^TEMPORAL_ADDRESS must be set/)]);
});

test('a login that a driver could not decode is a fault, told without its text', () => {
  const faults = faultsOf({ TOCSIN_EGRESS_PROXY: 'http://me:50%off@proxy:3128' });
  expect(faults).toEqual([expect.stringMatching(/^TOCSIN_EGRESS_PROXY must .*percent-encoded/)]);
  expect(faults.join()).not.toContain('50%off');
});

test('a secret may come from a file, but not from both places', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tocsin-config-'));
  try {
    const file = join(directory, 'keys');
    writeFileSync(file, `new:${key},\nold:${Buffer.alloc(32).toString('base64')}\n`);
    expect(readConfig({ TOCSIN_SECRET_KEYS_FILE: file }).secretKeys?.map(({ id }) => id)).toEqual(['new', 'old']);
    expect(faultsOf({ TOCSIN_SECRET_KEYS_FILE: file, TOCSIN_SECRET_KEYS: `k:${key}` })).toHaveLength(1);
    expect(faultsOf({ TOCSIN_SECRET_KEYS_FILE: join(directory, 'none') })[0]).toContain('ENOENT');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('one key id for two keys is a fault', () => {
  expect(faultsOf({ TOCSIN_SECRET_KEYS: `k:${key},k:${Buffer.alloc(32).toString('base64')}` })).toHaveLength(1);
});

describe('durations', () => {
  test.each([
    ['PT2S', 2000],
    ['PT0.25S', 250],
    ['PT1M30S', 90_000],
    ['PT0S', 0],
  ])('%s is %d ms', (text, ms) => expect(readConfig({ TOCSIN_RETRY_JITTER_MIN: text }).retryJitterMinMs).toBe(ms));

  test.each(['P', 'PT', '5', 'PT5', 'P1M', 'P1Y', 'PT-1S', 'pt1s', 'PT1S1M', 'PT16M'])('%s is refused', (text) => {
    expect(faultsOf({ TOCSIN_RETRY_JITTER_MIN: text })).toHaveLength(1);
  });
});

describe('egress targets', () => {
  test.each(['127.0.0.0/8', '::1/128', '10.1.2.3', 'mail.internal', 'mail.internal:25', '[fd00::1]:8080', '[fd00::1]', 'fd00::1'])(
    '%s is taken, and egress takes it',
    (text) => {
      expect(readConfig({ TOCSIN_EGRESS_ALLOW: text }).egressAllow).toEqual([text]);
      expect(() => createAddressPolicy({ allow: [text], deniedTargets: [] })).not.toThrow();
    },
  );
  test.each(['10.0.0.0/x', 'host/8', 'http://host', 'a:b:c', 'host:0', 'host:99999', '-host', 'host-', 'büro.example', '10.0.0.0/8/8'])(
    '%s is refused',
    (text) => {
      expect(faultsOf({ TOCSIN_EGRESS_ALLOW: text })).toHaveLength(1);
    },
  );
});

test("deliveries never reach a process's own servers, in whatever form their addresses are given", () => {
  const config = readServerConfig({
    DATABASE_URL: 'postgres://tocsin@[::1]/tocsin',
    TOCSIN_SECRET_KEYS: `k1:${key}`,
    TEMPORAL_ADDRESS: '[::1]:7233',
    TOCSIN_EGRESS_ALLOW: '::1',
    TOCSIN_EGRESS_PROXY: 'http://proxy.internal:3128',
    NO_PROXY: 'inside.example',
  });
  const { allow, deniedTargets, requireHttps, proxy } = egressOptions(config);
  const policy = createAddressPolicy({ allow, deniedTargets });
  for (const port of [5432, 7233, 8400]) expect(policy.judgeAddress({ host: '::1', port }, '::1')).toContain('belongs to Tocsin');
  expect(policy.judgeAddress({ host: '::1', port: 7234 }, '::1')).toBeUndefined();
  expect([requireHttps, proxy]).toEqual([false, { url: 'http://proxy.internal:3128', noProxy: ['inside.example'] }]);
});

test('every name is in the printed table once', () => {
  const names = [...renderSettings().matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name!);
  expect(new Set(names).size).toBe(names.length);
  for (const name of ['TOCSIN_HOST', 'DATABASE_URL', 'TEMPORAL_CLI_PATH', 'TOCSIN_DELIVERY_RUN_MAX', 'TOCSIN_EGRESS_PROXY'])
    expect(names).toContain(name);
});
