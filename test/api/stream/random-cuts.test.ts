/** A client as a browser runs it, that loses its connection at random, ends with the feed and the count that the database has. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startApi, type TestApi, type TestOrganization } from '../start-api.ts';
import { connect, type Message, startProcess, type StreamClient, type StreamProcess } from './processes.ts';

interface Item {
  id: string;
  category: string;
  readAt: string | null;
}

let api: TestApi;
let processes: StreamProcess[];
beforeAll(async () => {
  api = await startApi();
  processes = [await startProcess(api), await startProcess(api)];
});
afterAll(async () => {
  for (const process of processes) await process.stop();
  await api.stop();
});

const runMs = 8_000;
const pause = async (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)]!;

/** Keeps a feed by what the stream says, and reads it by REST only when it is told to. */
function createBrowser(organization: TestOrganization) {
  const feed = new Map<string, Item>();
  let unread = { count: 0, version: -1 };
  let resume: string | undefined;
  let client: StreamClient;
  let loading = Promise.resolve();

  const reload = async (): Promise<void> => {
    const { body } = await processes[0]!.request('GET', '/notifications?limit=500', organization);
    feed.clear();
    for (const item of body.data as Item[]) feed.set(item.id, item);
  };
  const hear = (message: Message): void => {
    if (message['resume'] !== undefined) ({ resume } = message as { resume?: string });
    const counts = message.t === 'hello' ? message['unread'] : message;
    if ((message.t === 'hello' || message.t === 'unread') && counts.version >= unread.version)
      unread = { count: counts.count, version: counts.version };
    if (message.t === 'notification') feed.set(message['item'].id, message['item']);
    if (message.t === 'resync') loading = loading.then(reload);
    if (message.t === 'updated')
      for (const item of feed.values()) {
        const covered = item.id <= (message['before'] ?? '') && item.readAt === null && message['categories'].includes(item.category);
        if (covered || message['ids'].includes(item.id)) item.readAt = message['readAt'];
      }
  };
  return {
    feed,
    unread: () => unread,
    async open(): Promise<void> {
      const before = resume;
      client = connect(pick(processes).url, organization);
      client.socket.on('message', (data: Buffer) => hear(JSON.parse(data.toString()) as Message));
      await client.next(({ t }) => t === 'hello');
      if (before === undefined) await reload();
      else client.send({ t: 'resume', token: before });
    },
    async cut(): Promise<void> {
      client.socket.terminate();
      await client.closed;
    },
    send: (message: object) => client.send(message),
    settled: async () => loading,
  };
}

test('whatever is cut when', async () => {
  const organization = await api.buildOrganization();
  const browser = createBrowser(organization);
  await browser.open();
  const until = Date.now() + runMs;
  let posted = 0;
  const work = async (): Promise<void> => {
    while (Date.now() < until) {
      const ids = [...browser.feed.keys()];
      const dice = Math.random();
      if (dice < 0.6 || ids.length === 0) {
        const body = { type: pick(['job.failed', 'alert.fired']), dedupKey: `${(posted += 1)}` };
        await pick(processes).request('POST', '/events', { key: organization.key, body });
      } else if (dice < 0.75) await pick(processes).request('POST', `/notifications/${pick(ids)}/read`, organization);
      else if (dice < 0.9) await pick(processes).request('POST', `/notifications/${pick(ids)}/unread`, organization);
      else await pick(processes).request('POST', '/notifications/mark-all-read', { key: organization.key, body: { before: pick(ids) } });
      await pause(Math.random() * 30);
    }
  };
  const cuts = async (): Promise<number> => {
    let cut = 0;
    for (; Date.now() < until; cut += 1) {
      await pause(Math.random() * 400);
      await browser.cut();
      await pause(Math.random() * 200);
      await browser.open();
    }
    return cut;
  };
  const [cut] = await Promise.all([cuts(), work(), work()]);
  expect(cut).toBeGreaterThan(5);
  await pause(1_000);
  await browser.settled();

  const { body: list } = await processes[1]!.request('GET', '/notifications?limit=500', organization);
  const { body: count } = await processes[1]!.request('GET', '/notifications/unread-count', organization);
  expect(list.data.length).toBe(posted);
  const shown = [...browser.feed.values()].toSorted((a, b) => (a.id < b.id ? 1 : -1));
  const essence = ({ id, readAt }: Item) => `${id} ${readAt === null ? 'unread' : 'read'}`;
  expect(shown.map(essence)).toEqual((list.data as Item[]).map(essence));
  expect(browser.unread().count).toBe(count.count);
  expect(count.count).toBe(shown.filter(({ readAt }) => readAt === null).length);
}, 60_000);
