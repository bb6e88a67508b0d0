import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { endpoints } from '../../api/endpoints.ts';
import { describeApi } from '../../api/openapi.ts';
import { startApi } from './start-api.ts';
import type { TestApi } from './start-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

const collectReferences = (value: unknown): string[] => [...JSON.stringify(value).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]!);

test('the committed description is the one that the schemas give', () => {
  const committed = readFileSync(new URL('../../api/openapi.json', import.meta.url), 'utf8');
  expect(`${JSON.stringify(describeApi(endpoints), null, 2)}\n`).toBe(committed);
});

test('it is served, names every operation once, and refers to nothing that is missing', async () => {
  const { status, body } = await api.request('GET', '/openapi.json');
  expect(status).toBe(200);
  expect(body['openapi']).toBe('3.1.0');
  const operations = Object.values<Record<string, { operationId: string }>>(body['paths']).flatMap((methods) => Object.values(methods));
  expect(operations.map(({ operationId }) => operationId).toSorted()).toEqual(endpoints.map(({ name }) => name).toSorted());
  for (const reference of collectReferences(body)) {
    const found = reference
      .slice(2)
      .split('/')
      .reduce((node, part) => node?.[part], body);
    expect([reference, found]).not.toContain(undefined);
  }
});

test('the documentation page shows every operation and loads nothing from elsewhere', async () => {
  const response = await fetch(`${api.url}/api/v2/docs`);
  const page = await response.text();
  expect(response.headers.get('content-type')).toContain('text/html');
  for (const { name } of endpoints) expect(page).toContain(`id="${name}"`);
  expect(page).not.toMatch(/(src|href)="(https?:)?\/\//);
  expect(page).not.toContain('undefined');
});

test('probes need no key', async () => {
  expect((await api.request('GET', '/healthz')).body).toEqual({ status: 'ok' });
  expect((await api.request('GET', '/readyz')).body).toMatchObject({ ready: true });
  expect((await api.request('GET', '/metrics')).text).toContain('tocsin_http_request_seconds');
});
