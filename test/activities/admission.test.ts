import { expect, test } from '@jest/globals';
import { createAdmission } from '../../activities/admission.ts';

/** A destination whose answers are given by hand, on a clock that stands. */
function controlled(limit = 20) {
  const clock = { now: 0 };
  const admission = createAdmission(
    () => limit,
    () => clock.now,
  );
  const sending: Array<(answer: { slow?: boolean; durationMs?: number }) => Promise<void>> = [];
  const send = () => {
    void admission.run(
      async () =>
        new Promise<{ slow: boolean; durationMs: number }>((resolve) => {
          sending.push(async (answer) => {
            resolve({ slow: false, durationMs: 10, ...answer });
            await turn();
          });
        }),
    );
  };
  const answerAll = async (answer = {}) => {
    for (const finish of sending.splice(0)) await finish(answer);
  };
  return { admission, clock, sending, send, answerAll };
}
const turn = async () => new Promise((resolve) => setImmediate(resolve));

test('one request at first, twice as many with each quick answer, up to the destination’s limit', async () => {
  const { sending, send, answerAll } = controlled(5);
  for (let i = 0; i < 40; i += 1) send();
  await turn();
  const windows: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    windows.push(sending.length);
    await answerAll();
  }
  expect(windows[0]).toBe(1);
  expect(windows[1]).toBe(2);
  expect(Math.max(...windows)).toBe(5);
});

test('back to one for a minute after a slow answer or a timeout', async () => {
  for (const slow of [{ slow: true }, { durationMs: 2_500 }]) {
    const { admission, clock, sending, send, answerAll } = controlled();
    for (let i = 0; i < 3; i += 1) {
      send();
      await turn();
      await answerAll();
    }
    expect(admission.admitsFast()).toBe(true);
    send();
    await turn();
    await answerAll(slow);
    for (let i = 0; i < 4; i += 1) send();
    await turn();
    for (let i = 0; i < 3; i += 1) {
      expect(sending).toHaveLength(1);
      await answerAll();
    }
    await answerAll();
    clock.now = 61_000;
    send();
    await turn();
    await answerAll();
    for (let i = 0; i < 4; i += 1) send();
    await turn();
    expect(sending.length).toBeGreaterThan(1);
  }
});

test('the fast lane is closed while the only slot of a destination is taken, and open again afterwards', async () => {
  const { admission, send, answerAll } = controlled();
  expect(admission.admitsFast()).toBe(true);
  send();
  await turn();
  expect(admission.admitsFast()).toBe(false);
  await answerAll({ slow: true });
  expect(admission.admitsFast()).toBe(true);
});

test('a send that throws gives its slot back', async () => {
  const { admission } = controlled();
  for (let i = 0; i < 3; i += 1) {
    const failing = admission.run<{ slow: boolean; durationMs: number }>(async () => {
      throw new Error('broken');
    });
    await expect(failing).rejects.toThrow('broken');
  }
  expect(admission.admitsFast()).toBe(true);
});

test('what is urgent is sent before what waits for the same destination', async () => {
  const admission = createAdmission(
    () => 1,
    () => 0,
  );
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const send = async (name: string, urgent?: boolean) =>
    admission.run(async () => {
      order.push(name);
      await gate.promise;
      return { slow: false, durationMs: 1 };
    }, urgent);
  const all = [send('first'), send('news'), send('more news'), send('page', true)];
  await turn();
  gate.resolve();
  await Promise.all(all);
  expect(order).toEqual(['first', 'page', 'news', 'more news']);
});
