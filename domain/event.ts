import type { Category, Effect, Feed } from './event-type.ts';
import type { Severity } from './severity.ts';

export interface EventResource {
  type: string;
  id: string;
  name?: string | undefined;
}

/** Who caused what the event tells; the caller's word. */
export interface EventActor {
  type: string;
  id: string;
  name?: string | undefined;
}

export interface EventLink {
  rel?: string | undefined;
  href: string;
  title?: string | undefined;
}

/** An event that passed validation. Ids are UUIDs, times Unix milliseconds. */
export interface AcceptedEvent {
  id: string;
  organizationId: string;
  type: string;
  /** As the producer spelled it. */
  postedType: string;
  category: Category;
  feed: Feed;
  effect: Effect;
  family: string;
  severity: Severity;
  subject: string;
  message: string | null;
  source: string;
  projectId: string | null;
  /** The producer's own text. */
  tenantId: string | null;
  environment: string | null;
  gitCommitSha: string | null;
  resource: EventResource | null;
  actor: EventActor | null;
  labels: Readonly<Record<string, string>>;
  links: readonly EventLink[];
  /** JSON text as posted, without insignificant white space: key order and number text are the producer's. */
  data: string | null;
  /** Users it is for; null: everybody. */
  audience: readonly string[] | null;
  /** Same problem. */
  dedupKey: string;
  groupKey: string | null;
  /** For display only: all timing uses `acceptedAt`, which is our clock. */
  occurredAt: number;
  acceptedAt: number;
}
