import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from '@temporalio/worker';
import { bundleWorkflows } from '../../activities/workflow-bundle.ts';
import * as workflows from '../../workflows/index.ts';
import { workflowTypes } from '../../workflows/messages.ts';

const histories = readdirSync(new URL('histories/', import.meta.url)).map((name) => ({
  name,
  ...(JSON.parse(readFileSync(new URL(`histories/${name}`, import.meta.url), 'utf8')) as { workflowId: string; history: unknown }),
}));
const bundle = await bundleWorkflows();

test('every recorded history is replayed by the workflows of this version', async () => {
  const replays = Worker.runReplayHistories({ workflowBundle: bundle, replayName: 'recorded' }, histories);
  const faults = new Map<string, string>();
  let replayed = 0;
  for await (const { workflowId, error } of replays) {
    replayed += 1;
    if (error) faults.set(histories.find((each) => each.workflowId === workflowId)!.name, error.message);
  }
  expect(Object.fromEntries(faults)).toEqual({});
  expect(replayed).toBe(histories.length);
});

interface Event {
  eventType: string;
  workflowExecutionStartedEventAttributes?: { workflowType: { name: string } };
  activityTaskStartedEventAttributes?: { attempt: number };
  markerRecordedEventAttributes?: { failure?: object };
}

const eventsOf = ({ history }: { history: unknown }): Event[] => (history as { events: Event[] }).events;
const typeOf = (recorded: { history: unknown }): string =>
  eventsOf(recorded)[0]!.workflowExecutionStartedEventAttributes!.workflowType.name;

test('every workflow type has a recorded history', () => {
  expect(new Set(histories.map(typeOf))).toEqual(new Set(Object.values(workflowTypes)));
  expect(Object.keys(workflows).toSorted()).toEqual(Object.values(workflowTypes).toSorted());
});

test('of what waits, every way to be woken, to fail and to end is recorded', () => {
  const ways = (workflowType: string): string[] => {
    const found = histories.filter((each) => typeOf(each) === workflowType).flatMap(eventsOf);
    const failed = found.some(({ activityTaskStartedEventAttributes: started }) => (started?.attempt ?? 1) > 1);
    const failedLocally = found.some(({ markerRecordedEventAttributes: marker }) => marker?.failure !== undefined);
    const types = found.map(({ eventType }) => eventType.replace('EVENT_TYPE_', ''));
    return [...types, ...(failed ? ['activity retried'] : []), ...(failedLocally ? ['local activity retried'] : [])];
  };
  const ends = ['SIGNALED', 'CANCELED', 'CONTINUED_AS_NEW', 'COMPLETED'].map((how) => `WORKFLOW_EXECUTION_${how}`);
  const waits = [...ends, 'TIMER_FIRED', 'TIMER_CANCELED', 'activity retried'];
  expect(ways(workflowTypes.notificationGroup)).toEqual(expect.arrayContaining(waits));
  expect(ways(workflowTypes.silence)).toEqual(expect.arrayContaining(waits));
  expect(ways(workflowTypes.escalation)).toEqual(
    expect.arrayContaining([...waits, 'local activity retried', 'WORKFLOW_EXECUTION_UPDATE_COMPLETED']),
  );
});

test('the workflow bundle holds the SDK, workflows/ and pure domain/ files, nothing else, in less than 2 MB', () => {
  expect(bundle.code.length).toBeLessThan(2_000_000);
  const allowed =
    /^(?:workflows\/|domain\/(?!audit\/|signature\.ts|hash\.ts)|node_modules\/(?:@temporalio\/(?:workflow|common|proto|worker)|nexus-rpc|long|ms|protobufjs|@protobufjs)\/|webpack\/|ignored\|)/;
  const modules = sourcesOf(bundle.code);
  expect(modules.some((name) => name.startsWith('workflows/delivery.ts'))).toBe(true);
  expect(modules.filter((name) => !allowed.test(name))).toEqual([]);
});

/** Modules by their path from the root of the checkout, from the source map inside the bundle. */
function sourcesOf(code: string): string[] {
  const [, encoded] = /sourceMappingURL=data:application\/json;charset=utf-8;base64,([A-Za-z0-9+/=]+)/.exec(code)!;
  const { sources } = JSON.parse(Buffer.from(encoded!, 'base64').toString()) as { sources: string[] };
  const root = new URL('../../', import.meta.url).pathname;
  return sources.map((source) =>
    source
      .replace(/^webpack:\/\/[^/]*\//, '')
      .replace(root, '')
      .replace(/^\.\//, ''),
  );
}
