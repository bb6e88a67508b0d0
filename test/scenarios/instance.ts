/**
 * A whole Tocsin in the test's process: the API over HTTP, a worker process on a Temporal namespace of its own, a receiver on loopback.
 * One per test file. Every event that `post` sends is explained first, and the explanation must be what then happens.
 */
import { expect } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { startWorkerProcess, type WorkerProcess } from '../../activities/worker-process.ts';
import { readServerConfig, type Environment } from '../../config.ts';
import { createLogger } from '../../log.ts';
import { runDestinationTest } from '../../temporal/destination-test.ts';
import { installRuntime } from '../../temporal/runtime.ts';
import { wakeRun } from '../../temporal/wake.ts';
import type { DestinationTest } from '../../api/dependencies.ts';
import { startApi, type TestAnswer, type TestApi, type TestOrganization } from '../api/start-api.ts';
import { startHttpReceiver, type Answer, type HttpReceiver } from '../receivers/http.ts';
import { createTestNamespace, type TestNamespace } from '../support/servers.ts';

/** An answer; tests narrow it by what they assert. */
export type Json = TestAnswer['body'];

export interface Instance {
  readonly api: TestApi;
  readonly organization: TestOrganization;
  readonly worker: WorkerProcess;
  readonly client: Client;
  readonly namespace: string;
  readonly receiver: HttpReceiver;
  /** Every line that the worker logged, as written. */
  readonly workerLog: readonly string[];
  get(path: string): Promise<Json>;
  /** Any request; throws unless the answer is 2xx. */
  call(method: string, path: string, body?: unknown): Promise<Json>;
  /** Explains an event, posts it, and fails unless both say the same; answers with the event's trace. */
  post(event: Record<string, unknown>): Promise<Json>;
  /** A webhook for its own event type pattern; its receiver answers `answers`, then `then`. */
  hook(options: HookOptions): Promise<Hook>;
  /** The only delivery of a posted event, once `until` holds. */
  delivery(event: Json, until?: (delivery: Json) => boolean, timeoutMs?: number): Promise<Json>;
  stop(): Promise<void>;
}

export interface HookOptions {
  readonly types?: readonly string[];
  readonly answers?: readonly Answer[];
  readonly then?: Answer;
  readonly fields?: Record<string, unknown>;
}

export interface Hook {
  readonly id: string;
  readonly secret: string;
  readonly standardSecret: string;
  readonly path: string;
}

/** Retries come after 0.2 s; three attempts in all. */
const shortDurations: Environment = {
  TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S,PT0.2S',
  TOCSIN_RETRY_JITTER_MIN: 'PT0S',
  TOCSIN_RATE_LIMITED_WAIT: 'PT0.5S',
  TOCSIN_EGRESS_ALLOW: '127.0.0.1',
  TOCSIN_PORT: '0',
  TOCSIN_LOG_LEVEL: 'debug',
};

export const ended = ({ status }: Json): boolean => ['delivered', 'failed', 'cancelled'].includes(status);

export interface InstanceOptions {
  /** Default: a namespace of its own on the run's server. */
  readonly temporal?: TestNamespace;
  /** As of a worker process. */
  readonly maxCachedWorkflows?: number;
}

/** @param env settings over the short durations */
export async function startInstance(env: Environment = {}, { temporal, ...ofWorker }: InstanceOptions = {}): Promise<Instance> {
  const { address, namespace } = temporal ?? (await createTestNamespace());
  const key = randomBytes(32);
  const late: { worker?: WorkerProcess } = {};
  const api = await startApi({
    secretKeys: [{ id: 'test', key }],
    starter: { offer: (deliveries) => late.worker?.starter.offer(deliveries) },
    escalations: { wake: (changed) => late.worker?.escalations.wake(changed) },
    groups: { wake: (changed) => late.worker?.groups.wake(changed) },
    deps: {
      minIntervalMs: 100,
      wakeSilence: (silence) => late.worker?.silences.wake([silence]),
      wakeDelivery: async (delivery) => {
        if (delivery.runId === null) late.worker!.starter.offer([delivery]);
        else await wakeRun(late.worker!.temporal, delivery.runId);
      },
      testDestination: async ({ organizationId, kind, id, channelType }) =>
        runDestinationTest<DestinationTest>(late.worker!.temporal, late.worker!.orm, {
          organizationId,
          kind,
          destinationId: id,
          channelType,
        }),
    },
  });
  const workerLog: string[] = [];
  const log = createLogger({ process: 'worker', level: 'debug', write: (line) => void workerLog.push(line) });
  const config = readServerConfig({
    ...shortDurations,
    ...env,
    DATABASE_URL: api.databaseUrl,
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: namespace,
    TOCSIN_SECRET_KEYS: `test:${key.toString('base64')}`,
  });
  installRuntime(log);
  const connection = await NativeConnection.connect({ address });
  const worker = await startWorkerProcess({ config, connection, log, publicUrl: api.url, ...ofWorker });
  late.worker = worker;
  const organization = await api.buildOrganization('Ours');
  const receiver = await startHttpReceiver();
  let hooks = 0;

  async function call(method: string, path: string, body?: unknown): Promise<Json> {
    const answer = await api.request(method, path, { key: organization.key, body });
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.body;
  }
  const get = async (path: string): Promise<Json> => call('GET', path);

  async function post(event: Record<string, unknown>): Promise<Json> {
    const { decisions: explained } = await call('POST', '/events/explain', event);
    const posted = await call('POST', '/events', event);
    const trace = await get(`/events/${posted['id']}`);
    expect(trace['decisions'].map(plain)).toEqual(explained.map(plain));
    expect(posted['decisions']).toEqual(trace['decisions'].map(({ target, verdict, reason }: Json) => ({ target, verdict, reason })));
    return trace;
  }

  return {
    api,
    organization,
    worker,
    client: worker.temporal.client,
    namespace,
    receiver,
    workerLog,
    get,
    call,
    post,
    async hook({ types = ['deployment.failed'], answers = [], then = 204, fields = {} }) {
      const path = `/hook-${(hooks += 1)}`;
      receiver.script(path, answers, then);
      const body = { name: path.slice(1), url: receiver.url(path), eventTypes: types, ...fields };
      const { id, secret, standardSecret } = await call('POST', '/webhooks', body);
      return { id, secret, standardSecret, path };
    },
    async delivery({ deliveries }, until = ended, timeoutMs = 20_000) {
      return waitFor(() => get(`/deliveries/${deliveries[0].id}`), until, { what: `delivery ${deliveries[0].id}`, timeoutMs });
    },
    async stop() {
      await worker.stop();
      await connection.close();
      await api.stop();
      await receiver.close();
    },
  };
}

const plain = ({ target, verdict, reason, winner, losers }: Json) => ({ target, verdict, reason, winner, losers });

/** Asks again until `until` holds; throws with what it last saw. */
export async function waitFor<T>(
  ask: () => Promise<T>,
  until: (value: T) => boolean,
  { what, timeoutMs = 20_000 }: { what: string; timeoutMs?: number },
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await ask();
    if (until(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what} is still ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
