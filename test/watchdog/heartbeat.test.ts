import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { createEgress, type Egress } from '../../egress/guard.ts';
import { createHeartbeat } from '../../watchdog/heartbeat.ts';
import { startHttpReceiver, type HttpReceiver } from '../receivers/http.ts';

const logged: Array<Record<string, unknown>> = [];
const note = (unit: string, fields: Record<string, unknown>): void => void logged.push({ ...fields, unit });
const log = { debug: note, info: note, warn: note, error: note };
let http: HttpReceiver;
let egress: Egress;

beforeAll(async () => {
  http = await startHttpReceiver();
  egress = createEgress({ allow: ['127.0.0.1'], deniedTargets: [], requireHttps: false, now: Date.now, log });
});
afterAll(async () => {
  await egress.close();
  await http.close();
});
beforeEach(() => {
  logged.length = 0;
});

test('posts to the address, and asks nothing of the answer', async () => {
  http.script('/beat', [503]);
  await createHeartbeat({ egress, url: http.url('/beat?token=secret'), log }).send();
  expect(http.arrivals.map(({ method, path }) => [method, path])).toEqual([['POST', '/beat?token=secret']]);
  expect(logged.filter(({ unit }) => unit === 'watchdog.heartbeat')).toEqual([]);
});

test('an address that is away is logged, without the address, and throws nothing', async () => {
  const away = await startHttpReceiver();
  const url = away.url('/beat?token=secret');
  await away.close();
  await createHeartbeat({ egress, url, log }).send();
  expect(logged).toEqual([{ unit: 'watchdog.heartbeat', errorCode: 'connect_refused' }]);
  expect(JSON.stringify(logged)).not.toContain('secret');
});
