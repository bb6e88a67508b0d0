/**
 * The configuration of every process, and the only reader of the environment. `settings` is the one list of names: it is parsed,
 * and `node config.ts` prints it. A secret may come from a file instead: `<NAME>_FILE` holds its path.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import * as value from './config-values.ts';
import type { EgressOptions } from './egress/guard.ts';
import { logLevels } from './log.ts';

type Setting<T> = { name: string; meaning: string; secret: boolean; fallback: string | undefined; parse: (text: string | undefined) => T };

/** A setting that always has a value. */
function setting<T>(name: string, fallback: string, parse: value.Parse<T>, meaning: string): Setting<T> {
  return { name, meaning, secret: false, fallback, parse: (text) => parse(text ?? fallback) };
}

/** A setting that may be absent. */
function optional<T>(name: string, parse: value.Parse<T>, meaning: string, kind?: 'secret'): Setting<T | undefined> {
  return { name, meaning, secret: kind === 'secret', fallback: undefined, parse: (text) => (text === undefined ? undefined : parse(text)) };
}

const second = 1000;
const hour = 3600 * second;

const settings = {
  host: setting('TOCSIN_HOST', '127.0.0.1', value.host, 'address the API listens on'),
  port: setting('TOCSIN_PORT', '8400', value.integer(0, 65_535), 'port the API listens on; 0 = any free port'),
  dataDir: setting(
    'TOCSIN_DATA_DIR',
    '.tocsin',
    directory,
    'embedded PostgreSQL, Temporal’s file, keys, ready.json; two directories are two instances',
  ),
  databaseUrl: optional(
    'DATABASE_URL',
    value.url('postgres', 'postgresql'),
    'PostgreSQL to use instead of the embedded one; needs TOCSIN_SECRET_KEYS',
    'secret',
  ),
  temporalAddress: optional('TEMPORAL_ADDRESS', value.hostAndPort, 'Temporal frontend, host:port, to use instead of the embedded one'),
  temporalNamespace: setting('TEMPORAL_NAMESPACE', 'tocsin', value.word, 'Temporal namespace'),
  temporalUiPort: setting('TEMPORAL_UI_PORT', '0', value.integer(0, 65_535), 'port of the embedded Temporal Web UI; 0 = any free port'),
  temporalCliPath: optional('TEMPORAL_CLI_PATH', value.text(), 'Temporal CLI to run as the embedded server, instead of looking for one'),
  bootstrapKey: optional(
    'TOCSIN_BOOTSTRAP_KEY',
    value.apiKey,
    'first start only: the owner’s API key of the first organization, tsn_ and at least 32 characters, instead of a generated one; never printed',
    'secret',
  ),
  retryStandardMs: setting(
    'TOCSIN_RETRY_STANDARD',
    'PT0S,PT1M,PT5M,PT15M,PT1H,PT4H',
    value.list(value.durationMs(0, 24 * hour), { min: 1, max: 12 }),
    'waits before each attempt of the standard retry policy; as many attempts as members',
  ),
  retryJitterMinMs: setting(
    'TOCSIN_RETRY_JITTER_MIN',
    'PT2S',
    value.durationMs(0, hour / 4),
    'least jitter added to the wait before a retry',
  ),
  rateLimitedWaitMs: setting(
    'TOCSIN_RATE_LIMITED_WAIT',
    'PT60S',
    value.durationMs(0, 4 * hour),
    'least wait after a 429 answer without Retry-After',
  ),
  deliveryRetentionDays: setting('TOCSIN_DELIVERY_RETENTION_DAYS', '30', value.integer(1, 365), 'days a finished delivery is kept'),
  requireHttps: setting('TOCSIN_REQUIRE_HTTPS', 'off', value.onOff, 'on = webhooks must be https, except hosts in TOCSIN_EGRESS_ALLOW'),
  minIntervalMs: setting('TOCSIN_MIN_INTERVAL', 'PT1M', value.durationMs(1, hour), 'least timeout, repeat, wait or window the API accepts'),
  secretKeys: optional(
    'TOCSIN_SECRET_KEYS',
    value.secretKeys,
    'keys for encryption at rest, id:base64 of 32 bytes, separated by commas; the first encrypts, all decrypt. Generated when PostgreSQL is embedded',
    'secret',
  ),
  egressAllow: setting(
    'TOCSIN_EGRESS_ALLOW',
    '',
    value.list(value.egressTarget, { min: 0, max: 256 }),
    'CIDR blocks, hosts and host:port that deliveries may reach although private',
  ),
  egressProxy: optional('TOCSIN_EGRESS_PROXY', value.url('http', 'https'), 'CONNECT proxy for all deliveries, mail included', 'secret'),
  egressNoProxy: setting('NO_PROXY', '', value.list(value.text(300), { min: 0, max: 256 }), 'hosts and domains reached without that proxy'),
  deliveryRunMax: setting(
    'TOCSIN_DELIVERY_RUN_MAX',
    '100',
    value.integer(1, 100),
    'most deliveries that share one workflow under load; 1 = one workflow each',
  ),
  metricsPort: optional(
    'TOCSIN_METRICS_PORT',
    value.integer(0, 65_535),
    'port of /healthz and /metrics of a worker process; absent = none',
  ),
  watchdogEveryMs: setting('TOCSIN_WATCHDOG_EVERY', 'PT15S', value.durationMs(100, hour), 'how often the watchdog looks'),
  watchdogNudgeMs: setting(
    'TOCSIN_WATCHDOG_NUDGE',
    'PT1M',
    value.durationMs(100, hour),
    'what is late by this is told to Temporal again by the watchdog',
  ),
  watchdogAlarmMs: setting(
    'TOCSIN_WATCHDOG_ALARM',
    'PT2M',
    value.durationMs(100, 24 * hour),
    'what is late by this is told to people by the watchdog itself',
  ),
  watchdogHeartbeatUrl: optional(
    'TOCSIN_WATCHDOG_HEARTBEAT_URL',
    value.url('http', 'https'),
    'address that the watchdog posts to each minute in which nothing is late',
    'secret',
  ),
  instance: optional('TOCSIN_INSTANCE', value.text(), 'set by npm start: names the data directory whose only worker this process is'),
  streamOrigins: setting(
    'TOCSIN_STREAM_ORIGINS',
    '',
    value.list(value.origin, { min: 0, max: 64 }),
    'origins whose pages may connect to /stream, such as https://console.example.com; none = pages from the same host only',
  ),
  logLevel: setting('TOCSIN_LOG_LEVEL', 'info', value.oneOf(logLevels), `least level that is logged: ${logLevels.join(', ')}`),
};

type Values = { readonly [K in keyof typeof settings]: ReturnType<(typeof settings)[K]['parse']> };

/** Times are milliseconds unless the name says otherwise. */
export type Config = Omit<Values, 'retryStandardMs' | 'temporalAddress' | 'temporalNamespace' | 'temporalUiPort' | 'temporalCliPath'> & {
  /** Seconds to wait before attempts 1, 2, … of the standard policy. */
  readonly retryStandardSeconds: readonly number[];
  readonly temporal: {
    readonly address: string | undefined;
    readonly namespace: string;
    /** 0 = any free port. */
    readonly uiPort: number;
    readonly cliPath: string | undefined;
  };
};

/** The configuration of a process that has its servers given: `npm run api`, `npm run worker` and what `npm start` spawns. */
export type ServerConfig = Config & {
  readonly databaseUrl: string;
  readonly secretKeys: NonNullable<Config['secretKeys']>;
  readonly temporal: { readonly address: string };
};

/** Every fault of the environment at once, each one sentence; values of secrets never appear in it. Exit code 78. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    );
    this.faults = faults;
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Exit code of a process whose configuration is bad (EX_CONFIG of sysexits.h). */
export const badConfigurationExitCode = 78;

/** Reads and checks the whole environment; throws one {@link ConfigError} with all faults. The answer is frozen. */
export function readConfig(env: Environment): Config {
  const { config, faults } = parse(env);
  if (faults.length > 0) throw new ConfigError(faults);
  return config;
}

/** {@link readConfig} for a process that starts no server of its own: PostgreSQL, Temporal and the keys must be given. */
export function readServerConfig(env: Environment): ServerConfig {
  const { config, faults } = parse(env);
  const { databaseUrl, secretKeys, temporal } = config;
  if (!isGiven(env, 'DATABASE_URL')) {
    faults.push('DATABASE_URL must be set: only npm start brings its own PostgreSQL.');
    if (!isGiven(env, 'TOCSIN_SECRET_KEYS')) faults.push(missingSecretKeys);
  }
  if (!isSet(env, 'TEMPORAL_ADDRESS')) faults.push('TEMPORAL_ADDRESS must be set: only npm start brings its own Temporal server.');
  if (databaseUrl === undefined || secretKeys === undefined || temporal.address === undefined || faults.length > 0)
    throw new ConfigError(faults);
  return Object.freeze({ ...config, databaseUrl, secretKeys, temporal: Object.freeze({ ...temporal, address: temporal.address }) });
}

const missingSecretKeys =
  'TOCSIN_SECRET_KEYS must be set together with DATABASE_URL: id:key, the key from `openssl rand -base64 32`. No process invents one.';

function parse(env: Environment): { config: Config; faults: string[] } {
  const faults: string[] = [];
  const entries = Object.entries(settings).map(([key, each]) => [key, parseSetting(each, env, faults)]);
  const { retryStandardMs, temporalAddress, temporalNamespace, temporalUiPort, temporalCliPath, ...rest } = Object.fromEntries(
    entries,
  ) as Values;
  if (isGiven(env, 'DATABASE_URL') && !isGiven(env, 'TOCSIN_SECRET_KEYS')) faults.push(missingSecretKeys);
  const temporal = Object.freeze({
    address: temporalAddress,
    namespace: temporalNamespace,
    uiPort: temporalUiPort,
    cliPath: temporalCliPath,
  });
  const retryStandardSeconds = Object.freeze(retryStandardMs.map((ms) => ms / second));
  return { config: Object.freeze({ ...rest, retryStandardSeconds, temporal }), faults };
}

/** A setting's value; where it is at fault, the fault is noted and its default stands in, so that one run finds every fault. */
function parseSetting(each: Setting<unknown>, env: Environment, faults: string[]): unknown {
  try {
    return each.parse(readText(each, env));
  } catch (error) {
    faults.push(`${each.name} ${(error as Error).message}.`);
    return each.parse(undefined);
  }
}

function readText({ name, secret }: Setting<unknown>, env: Environment): string | undefined {
  const fileName = `${name}_FILE`;
  if (!secret || !isSet(env, fileName)) return isSet(env, name) ? env[name]?.trim() : undefined;
  if (isSet(env, name)) throw new Error(`and ${fileName} are both set, and one of them must go`);
  try {
    return readFileSync(env[fileName]!, 'utf8').trim();
  } catch (error) {
    throw new Error(`cannot be read from the file in ${fileName}: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`, {
      cause: error,
    });
  }
}

/** Set, or to be read from a file. */
function isGiven(env: Environment, name: string): boolean {
  return isSet(env, name) || isSet(env, `${name}_FILE`);
}

function isSet(env: Environment, name: string): boolean {
  return env[name] !== undefined && env[name].trim() !== '';
}

function directory(path: string): string {
  return resolve(value.text()(path));
}

/** The table of every name, in Markdown. */
export function renderSettings(): string {
  const rows = Object.values(settings).map(({ name, secret, fallback, meaning }) => {
    const names = secret ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``;
    return `| ${names} | ${fallback === undefined || fallback === '' ? '–' : `\`${fallback}\``} | ${meaning} |`;
  });
  return ['| name | default | meaning |', '|---|---|---|', ...rows, ''].join('\n');
}

/** The configuration in the terms of egress/: every process that judges destinations does it alike. */
export function egressOptions(config: ServerConfig): Pick<EgressOptions, 'allow' | 'deniedTargets' | 'requireHttps' | 'proxy'> {
  return { allow: config.egressAllow, deniedTargets: ownTargets(config), requireHttps: config.requireHttps, ...egressProxy(config) };
}

/** The proxy of deliveries, as egress/ takes it. */
function egressProxy({ egressProxy: url, egressNoProxy: noProxy }: Config): Pick<EgressOptions, 'proxy'> {
  return url === undefined ? {} : { proxy: { url, noProxy } };
}

/** Where a delivery must never go, whatever the operator allows. */
function ownTargets({ databaseUrl, temporal, host, port }: ServerConfig): EgressOptions['deniedTargets'] {
  const database = new URL(databaseUrl);
  // not at the first colon: an IPv6 address has several
  const colon = temporal.address.lastIndexOf(':');
  return [
    { host: database.hostname, port: Number(database.port || 5432) },
    { host: temporal.address.slice(0, colon), port: Number(temporal.address.slice(colon + 1)) },
    { host, port },
  ];
}

if (import.meta.main) process.stdout.write(renderSettings());
