import { z } from 'zod';
import { DomainError, validationFailed } from '../domain/errors.ts';
import type { ReceivedCloudEvent } from './cloud-events.ts';
import type { Answer, OwnTransactionContext } from './endpoint.ts';
import { acceptEvents, auditDenied, keeping, presentOnly } from './event-answers.ts';
import { prepareEvents } from './event-drafts.ts';
import type { EventMaker, PreparedEvent } from './intake-work.ts';
import { toProblem } from './problem.ts';

/** What is told of an event in a batch. */
const told = z.object({ id: z.string(), status: z.string() });

/**
 * A batch of CloudEvents, whose sender may cut the next one differently: each stands or falls alone, is idempotent by itself, and is the same
 * as if it had been posted alone.
 */
export async function answerCloudEvents(context: OwnTransactionContext, events: ReadonlyArray<() => ReceivedCloudEvent>): Promise<Answer> {
  const { idempotencyKey, requestId, deps, principal, auditedAs } = context;
  if (idempotencyKey !== undefined) {
    const detail = 'has no meaning for a batch of CloudEvents: the source and id of each are its key';
    throw validationFailed([{ pointer: '/headers/idempotency-key', code: 'not_applicable', detail }]);
  }
  const received = events.map(readOne);
  const prepared = await prepareEvents(
    deps.intake,
    principal.organizationId,
    received.map(({ make }) => make),
  );
  const entryIds: string[] = [];
  const acceptOne = async (event: PreparedEvent | DomainError, { idempotency }: ReceivedCloudEvent): Promise<unknown> => {
    if (event instanceof DomainError) throw event;
    const result = await acceptEvents(context, [event], idempotency === null ? undefined : keeping(idempotency, presentOnly));
    if ('replay' in result) return told.parse(JSON.parse(result.replay.body));
    entryIds.push(...result.entryIds);
    return told.parse(presentOnly(result.outcomes));
  };
  const data = await Promise.all(
    prepared.map(async (event, i) => {
      try {
        return await acceptOne(event, received[i]!);
      } catch (error) {
        // What is no fault of the event fails the request: repeated, it gets the answers of those that are accepted already.
        if (!(error instanceof DomainError)) throw error;
        await auditDenied(context, [{ error }]);
        return { error: toProblem(error, requestId) };
      }
    }),
  );
  auditedAs(entryIds);
  return { body: { data } };
}

/** One that cannot be read is refused when its turn comes. */
function readOne(read: () => ReceivedCloudEvent): ReceivedCloudEvent {
  try {
    return read();
  } catch (error) {
    const refuse: EventMaker = () => {
      throw error;
    };
    return { make: refuse, idempotency: null };
  }
}
