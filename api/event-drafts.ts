import type { EventTypes } from '../domain/custom-event-type.ts';
import { DomainError, validationFailed } from '../domain/errors.ts';
import { sha256Hex } from '../domain/hash.ts';
import type { RawValue } from '../domain/raw-json.ts';
import { type PostedEvent, validateEvent } from './event-schema.ts';
import type { Intake } from './intake.ts';
import type { DraftEvent, EventMaker, PreparedEvent } from './intake-work.ts';

/** What `POST /events` takes, and each member of a batch. `data` is the event's `data` as posted. */
export function eventMaker(value: unknown, { data, now }: { data: RawValue | undefined; now: Date }): EventMaker {
  return (types) => {
    const validated = validateEvent(value, { types, data, now });
    if ('faults' in validated) throw validationFailed(validated.faults);
    return draftEvent(validated.posted, data, now);
  };
}

/**
 * Events as the organization's types have them, in order, or what is wrong with them. The types are those that this process knows; they are
 * asked for anew when one is unknown, which another process may have made a moment ago.
 */
export async function prepareEvents(
  intake: Pick<Intake, 'types' | 'currentTypes'>,
  organizationId: string,
  makers: readonly EventMaker[],
): Promise<Array<PreparedEvent | DomainError>> {
  const types = await intake.types(organizationId);
  const prepared = makers.map((make) => prepare(make, types));
  if (!prepared.some(isOfUnknownType)) return prepared;
  const current = await intake.currentTypes(organizationId);
  return current === types ? prepared : makers.map((make) => prepare(make, current));
}

/** The same of one event. Throws what is wrong with it. */
export async function prepareEvent(
  intake: Pick<Intake, 'types' | 'currentTypes'>,
  organizationId: string,
  make: EventMaker,
): Promise<PreparedEvent> {
  const [prepared] = await prepareEvents(intake, organizationId, [make]);
  if (prepared instanceof DomainError) throw prepared;
  return prepared!;
}

export function isPrepared(prepared: PreparedEvent | DomainError | undefined): prepared is PreparedEvent {
  return prepared !== undefined && !(prepared instanceof DomainError);
}

function prepare(make: EventMaker, types: EventTypes): PreparedEvent | DomainError {
  try {
    return { draft: make(types), types, make };
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

function isOfUnknownType(prepared: PreparedEvent | DomainError): boolean {
  return prepared instanceof DomainError && prepared.faults?.some(({ code }) => code === 'unknown_event_type') === true;
}

/** Everything of an event but what its acceptance decides. */
export function draftEvent(posted: PostedEvent, data: RawValue | undefined, now: Date): DraftEvent {
  const { type, resource, projectId = null } = posted;
  const subject = posted.subject ?? `${type.description}${resource === undefined ? '' : `: ${resource.name ?? resource.id}`}`.slice(0, 256);
  return {
    type: type.type,
    postedType: posted.spelling,
    category: type.category,
    feed: type.feed,
    effect: type.effect,
    family: type.family,
    severity: posted.severity ?? type.defaultSeverity,
    subject,
    message: posted.message ?? null,
    source: posted.source ?? 'api',
    projectId,
    tenantId: posted.tenantId ?? null,
    environment: posted.environment ?? null,
    gitCommitSha: posted.gitCommitSha ?? null,
    resource: resource ?? null,
    actor: posted.actor ?? null,
    labels: posted.labels ?? {},
    links: posted.links ?? [],
    data: data?.text ?? null,
    audience: posted.audience?.userIds ?? null,
    dedupKey:
      posted.dedupKey ??
      deriveDedupKey(resource === undefined ? [type.type, projectId, subject] : [type.family, projectId, resource.type, resource.id]),
    groupKey: posted.groupKey ?? null,
    occurredAt: (posted.occurredAt ?? now).getTime(),
  };
}

/** Same problem, when the producer does not say: by resource, else by what it is called. A list of texts is its own canonical JSON. */
function deriveDedupKey(parts: ReadonlyArray<string | null>): string {
  return `auto:${sha256Hex(JSON.stringify(parts))}`;
}
