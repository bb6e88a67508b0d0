import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { ChangedEscalationState, EscalationChange } from '../db/escalation-change.ts';
import type { StepOutcome } from '../db/escalation-step.ts';
import type { FactsCache } from '../db/queries/routing-facts.ts';
import type { SecretBox } from '../db/secrets.ts';
import type { Egress } from '../egress/guard.ts';
import type { Logger } from '../log.ts';
import type { UnownedDelivery } from '../db/queries/unowned.ts';
import type { Authentication } from './authentication.ts';
import type { Intake } from './intake.ts';

/** What the API needs from the process around it. Tests give fakes for what leaves the process. */
export interface Dependencies {
  readonly orm: MikroORM;
  readonly secrets: SecretBox;
  readonly log: Logger;
  readonly authentication: Authentication;
  readonly intake: Intake;
  /** What may be saved as a destination. */
  readonly destinations: Pick<Egress, 'checkUrl' | 'checkMailHost' | 'allowsUrl' | 'vetUrl'>;
  /** Where answers to those who called go out. */
  readonly egress: Pick<Egress, 'sendHttp'>;
  /** The least timeout, repeat, wait or window that is accepted where a minute or more is needed. */
  readonly minIntervalMs: number;
  /** Makes one attempt at a destination, outside its history, and waits for the answer. Rejects with `unavailable` without Temporal. */
  testDestination(destination: TestedDestination): Promise<DestinationTest>;
  /**
   * Tells that a person changed a committed delivery: its run looks again, or one is started. What it fails to tell is found by the
   * relay.
   */
  wakeDelivery(delivery: ChangedDelivery): Promise<void>;
  /**
   * Changes an escalation in a transaction of its own, with what `also` does, and announces what it left to do.
   * @returns undefined when the organization has no such escalation
   */
  changeEscalation(
    change: EscalationChange,
    also?: (em: EntityManager, changed: ChangedEscalationState) => Promise<void>,
  ): Promise<ChangedEscalationState | undefined>;
  /** What escalations are stepped with, for changes in the request's transaction. */
  readonly facts: FactsCache;
  /** Tells of what committed steps left to do: pages to be sent, workflows to look again. Never waits; what it fails to tell the relay finds. */
  announceSteps(left: StepOutcome): void;
  /** Tells that feeds of the organization (UUID), or marks on them, changed. Never waits; what it fails to tell is found within seconds. */
  feedChanged(organizationId: string): void;
  /** Tells that a silence was made or changed. Never waits; what it fails to tell the relay finds. */
  wakeSilence(silence: { organizationId: string; silenceId: string }): void;
  /** Answers `/readyz`. MUST NOT reject. */
  readiness(): Promise<Readiness>;
}

export interface TestedDestination {
  /** UUIDs. */
  readonly organizationId: string;
  /** `contact`: a verification code is made and sent; `id` is its row's. */
  readonly kind: 'webhook' | 'channel' | 'contact';
  readonly id: string;
  /** `webhook` for webhooks; of a contact method its own. */
  readonly channelType: string;
}

/** What came of a test; secrets are redacted. */
export interface DestinationTest {
  readonly success: boolean;
  readonly statusCode: number | null;
  readonly errorCode: string | null;
  /** One line for people. */
  readonly detail: string | null;
  readonly durationMs: number;
  readonly remoteAddress: string | null;
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly requestBody: string | null;
  readonly responseHeaders: Readonly<Record<string, string>>;
  readonly responseBody: string | null;
  readonly responseTruncated: boolean;
}

export interface ChangedDelivery extends UnownedDelivery {
  /** The run that owns it; null: none, so one is to be started. */
  readonly runId: string | null;
}

export interface Readiness {
  /** PostgreSQL answers and has this version's schema. Temporal is only reported: events are accepted without it. */
  readonly ready: boolean;
  readonly postgres: 'ok' | 'unreachable' | 'not_migrated';
  readonly temporal: 'ok' | 'unreachable';
}
