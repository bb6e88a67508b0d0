import type { MikroORM } from '@mikro-orm/postgresql';
import type { FinishedAttempt } from '../db/queries/run.ts';
import type { SettleReason } from '../domain/delivery.ts';
import type { RetryConfiguration } from '../domain/retry.ts';
import type { Egress } from '../egress/guard.ts';
import type { DeliverInput } from '../workflows/messages.ts';
import type { Destination, Destinations } from './destination.ts';
import type { BegunMember, RunStore } from './run-store.ts';

export type AttemptInput = DeliverInput & { lane: 'fast' | 'slow' };

export interface AttemptReport {
  input: AttemptInput;
  member: BegunMember;
  destination: Destination;
  finished: FinishedAttempt;
  reason: SettleReason;
}

export interface DeliveryDependencies {
  orm: MikroORM;
  store: RunStore;
  destinations: Destinations;
  egress: Egress;
  /** Aborts when the process gives up what it is sending. */
  stopping: AbortSignal;
  retry: RetryConfiguration;
  /** Told of every attempt that ended, before it is recorded: for the log line and the metrics. */
  onAttempt: (report: AttemptReport) => void;
  /** Told when a run has made a step. */
  onStep: (input: AttemptInput) => void;
}
