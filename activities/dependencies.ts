import type { MikroORM } from '@mikro-orm/postgresql';
import type { FinishedAttempt } from '../db/queries/run.ts';
import type { DeliveryState, SettleReason } from '../domain/delivery.ts';
import type { RetryConfiguration } from '../domain/retry.ts';
import type { Egress } from '../egress/guard.ts';
import type { DeliverInput } from '../workflows/messages.ts';
import type { Destination, Destinations } from './destination.ts';
import type { TellFailing } from './failing-pages.ts';
import type { BegunMember, RunStore } from './run-store.ts';

export type AttemptInput = DeliverInput & {
  lane: 'fast' | 'slow';
  /** The deliveries (UUIDs) that the step before left open; what became of those that are not open any more is told with this step. */
  open?: readonly string[];
};

export interface AttemptReport {
  input: AttemptInput;
  member: BegunMember;
  destination: Destination;
  finished: FinishedAttempt;
  reason: SettleReason;
  /** What the delivery is now; undefined: the attempt was closed meanwhile, or could not be recorded. */
  state: DeliveryState | undefined;
}

export interface DeliveryDependencies {
  orm: MikroORM;
  store: RunStore;
  destinations: Destinations;
  egress: Egress;
  /** Aborts when the process gives up what it is sending. */
  stopping: AbortSignal;
  retry: RetryConfiguration;
  tellFailing: TellFailing;
  /** Told of every attempt that ended, once it is recorded: for the log line and the metrics. */
  onAttempt: (report: AttemptReport) => void;
  /** Told when a run has made a step. */
  onStep: (input: AttemptInput) => void;
}
