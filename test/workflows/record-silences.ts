/** Records the histories of silences that do not just end (recorder.ts says how and when). */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, test } from '@jest/globals';
import { fromWireId } from '../../domain/id.ts';
import { silenceChanged, workflowIds } from '../../workflows/messages.ts';
import { startInstance, waitFor, type Instance } from '../scenarios/instance.ts';
import { createRecorder, type Recorder } from './recorder.ts';

let tocsin: Instance;
let recorder: Recorder;
beforeAll(async () => {
  tocsin = await startInstance();
  recorder = createRecorder(tocsin);
});
afterAll(() => tocsin.stop());

/** From the end of a silence to the last look at what it muted. */
const lastLookMs = 30_000;

const later = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** A silence whose workflow waits for its end, an hour away. */
async function hush() {
  const matchers = [{ key: 'label.story', op: '=', value: 'recorded' }];
  const { id } = await tocsin.call('POST', '/silences', { matchers, endsAt: later(3_600_000), comment: 'Recorded' });
  const workflowId = workflowIds.silence(fromWireId('silence', id as string)!);
  const handle = tocsin.client.workflow.getHandle(workflowId);
  /** Resolves when it has made so many looks and waits again. */
  const waits = async (looks: number): Promise<void> => {
    const timers = async () => {
      const { events } = await handle.fetchHistory().catch(() => ({ events: [] }));
      return events!.filter(({ timerStartedEventAttributes }) => timerStartedEventAttributes).length;
    };
    await waitFor(timers, (count) => count === looks, { what: `wait ${looks} of ${workflowId}` });
  };
  await waits(1);
  const edit = async (fields: object) => tocsin.call('PATCH', `/silences/${id}`, fields);
  return { workflowId, handle, waits, edit, cancel: async () => tocsin.call('DELETE', `/silences/${id}`) };
}

test('is changed while it waits and while it looks, a look fails and is repeated, an operator cancels it', async () => {
  const { workflowId, handle, waits, edit } = await hush();
  await edit({ endsAt: later(7_200_000) });
  await waits(2);
  await recorder.whileAway('silence_clock', async () => {
    await handle.signal(silenceChanged);
    await sleep(500);
    await handle.signal(silenceChanged);
  });
  await waits(3);
  await handle.cancel();
  await recorder.record('silence-changed', workflowId);
});

test('is changed while its last look is under way', async () => {
  const { workflowId, handle, waits, cancel } = await hush();
  await cancel();
  await waits(2);
  await sleep(lastLookMs - 2_000);
  await recorder.whileHeld('silence_clock', async () => {
    await sleep(4_000);
    await handle.signal(silenceChanged);
    await sleep(500);
  });
  await recorder.record('silence-late', workflowId);
});
