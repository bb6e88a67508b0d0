import {
  ActivityCancellationType,
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import {
  acknowledge,
  changed,
  command,
  type EscalationCommand,
  type EscalationInput,
  type EscalationRequest,
  type EscalationView,
  plan,
  resolve,
  searchAttributes,
  taskQueues,
} from './messages.ts';

/** Without limit: while the database is away an escalation waits for it, and the row decides what is due when it is back. */
const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s' } as const;
/** In the workflow's own task: a look is one short transaction, and a task of its own would cost Temporal thrice as much. */
const { stepEscalation } = proxyLocalActivities<Activities>({
  startToCloseTimeout: '15s',
  retry,
  localRetryThreshold: '2s',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});
const { commandEscalation } = proxyActivities<Activities>({
  taskQueue: taskQueues.main,
  startToCloseTimeout: '15s',
  retry,
  cancellationType: ActivityCancellationType.TRY_CANCEL,
});

/** A history of more wakes than this is begun anew, also when the server does not suggest it yet. */
const maxWakes = 1_000;

/**
 * Waits for one escalation: does what its row says is due, sleeps until the next instant or until the row has changed. The row in PostgreSQL
 * is the authority, so an execution that is lost, doubled or terminated loses nothing: whoever finds the row starts another.
 */
export async function escalation(input: EscalationInput): Promise<EscalationView['state']> {
  let wantedVersion = 0;
  let view: EscalationView | undefined;
  const requests: EscalationCommand[] = [];
  const take = (name: EscalationCommand['command']) => (request: EscalationRequest) => {
    requests.push({ ...request, command: name });
  };
  setHandler(changed, ({ version }) => {
    wantedVersion = Math.max(wantedVersion, version);
  });
  setHandler(acknowledge, take('acknowledge'));
  setHandler(resolve, take('resolve'));
  setHandler(plan, () => view);
  setHandler(
    command,
    async (request) => {
      const answer = await commandEscalation({ ...input, ...request });
      if ('version' in answer) wantedVersion = Math.max(wantedVersion, answer.version);
      return answer;
    },
    { validator: assertCommand },
  );

  for (let wakes = 0; ; wakes += 1) {
    for (let request = requests.shift(); request !== undefined; request = requests.shift())
      await commandEscalation({ ...input, ...request });
    // Whatever was asked for until now is seen with this look, even if no row ever had that version.
    wantedVersion = 0;
    const step = await stepEscalation(input);
    if (step.kind === 'ended') {
      await condition(allHandlersFinished);
      if (requests.length > 0) continue;
      if (view?.state !== step.state) upsertSearchAttributes([{ key: searchAttributes.state, value: step.state }]);
      return step.state;
    }
    show(step.view, view);
    view = step.view;
    setCurrentDetails(step.details);
    const seen = step.view.version;
    const isWoken = (): boolean => requests.length > 0 || wantedVersion > seen;
    if (workflowInfo().continueAsNewSuggested || wakes >= maxWakes) {
      await condition(allHandlersFinished);
      if (!isWoken()) return await continueAsNew<typeof escalation>(input);
    } else if (step.ms === null) {
      await condition(isWoken);
    } else {
      // A zero timeout would write a version marker instead of a timer.
      await condition(isWoken, Math.max(1, step.ms), { summary: step.summary });
    }
  }
}

/** Attributes change with the state, not with every look. */
function show(next: EscalationView, shown: EscalationView | undefined): void {
  if (shown !== undefined && shown.state === next.state && shown.tier === next.tier && shown.dueAt === next.dueAt) return;
  upsertSearchAttributes([
    { key: searchAttributes.state, value: next.state },
    { key: searchAttributes.severity, value: next.severity },
    { key: searchAttributes.tier, value: next.tier },
    { key: searchAttributes.dueAt, value: next.dueAt === null ? null : new Date(next.dueAt) },
  ]);
}

function assertCommand({ requestId, actor, command: name }: EscalationCommand): void {
  if (typeof requestId !== 'string' || requestId === '' || typeof actor !== 'string' || actor === '')
    throw new Error('A command has a requestId and an actor.');
  if (name !== 'acknowledge' && name !== 'resolve') throw new Error('The command is acknowledge or resolve.');
}
