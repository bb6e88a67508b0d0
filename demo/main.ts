/**
 * `npm run demo`: the whole of Tocsin in under a minute, on servers and data of its own that go away with it. Exit codes: 0 when everything
 * it promises happened, 1 otherwise. `npm run demo -- --keep` leaves it running for exploring, until Ctrl-C.
 */
import { watchParent } from '../embedded/parent-watch.ts';
import { createClient } from './client.ts';
import { createDestinations } from './destinations.ts';
import { showContact, showEscalation, showProof } from './escalation.ts';
import { type Instance, startInstance } from './instance.ts';
import { bold, cyan, dim, green, heading, print, red, stamped } from './print.ts';
import { type Receivers, startReceivers } from './receivers.ts';
import { postFeed, showEventTrace, showEverythingArrived, showFinalFailure, showRetry, showTampering, showWorkflows } from './story.ts';

const keep = process.argv.includes('--keep');
let receivers: Receivers | undefined;
let instance: Instance | undefined;
let starting: Promise<Instance> | undefined;
const stopped = new AbortController();
/** Everything has happened: ending it from now on is no failure. */
let told = false;

async function tell(): Promise<void> {
  heading('Starting PostgreSQL, Temporal, API and worker');
  receivers = await startReceivers({
    onRequest: (receiver, { headers }) => {
      const what =
        headers['x-webhook-event'] === undefined ? 'message' : `${headers['x-webhook-event']}, attempt ${headers['x-webhook-attempt']}`;
      stamped(`${cyan('←')} ${receiver}: ${what}`);
    },
    onMail: ({ to }) => stamped(`${cyan('←')} smtp: mail to ${to.join(', ')}`),
  });
  starting = startInstance({ progress: (message) => print(`  ${dim(message)}`), signal: stopped.signal });
  instance = await starting;
  stamped(`up at ${instance.apiUrl}`);
  const api = createClient(instance.apiUrl, instance.apiKey);
  const destinations = await createDestinations(api, receivers);
  stamped(`made through the API: ${[...destinations.names.values()].join(', ')}`);

  const stage = { api, instance, receivers, destinations };
  const events = await postFeed(stage);
  await showRetry(stage, events.get('deployment.failed')!);
  const retried = await showFinalFailure(stage, events.get('break_glass.opened')!);
  await showEverythingArrived(stage);
  await showProof(stage, await showEscalation(stage, await showContact(stage)));
  const trace = await showEventTrace(stage, events.get('break_glass.opened')!);
  await showTampering(stage, trace);
  await showWorkflows(stage, retried);
}

async function stop(exitCode: number): Promise<void> {
  if (stopped.signal.aborted) return;
  stopped.abort();
  // Asked to end while it starts: what is started must still be ended.
  instance ??= await starting?.catch(() => undefined);
  try {
    await instance?.stop();
    await receivers?.close();
  } catch (error) {
    print(red(error instanceof Error ? error.message : String(error)));
    process.exit(1);
  }
  process.exit(exitCode);
}

// A reader that has gone (`| head`) must not keep what was started from being ended.
process.stdout.on('error', () => void stop(told ? 0 : 1));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(told ? 0 : 1));
watchParent(process.env['npm_lifecycle_event'] !== undefined, () => void stop(told ? 0 : 1));

try {
  await tell();
  told = true;
  if (keep) {
    print(`  API key          ${instance!.apiKey}`);
    print(`\n${bold('Left running')}; Ctrl-C ends it and removes its data.`);
  } else {
    print(`\n${green('Everything happened as told.')} ${dim('npm run demo -- --keep leaves it running for exploring.')}`);
    await stop(0);
  }
} catch (error) {
  if (!stopped.signal.aborted) {
    print(`\n${red(error instanceof Error ? error.message : String(error))}`);
    if (instance !== undefined) print(dim(instance.readLog()));
  }
  await stop(1);
}
