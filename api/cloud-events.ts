import { z } from 'zod';
import { allFaults, cloudEventMode, translateBinary, translateStructured } from '../domain/cloud-event.ts';
import type { CloudEventTranslation, KnownTypes, RequestHeaders } from '../domain/cloud-event.ts';
import { builtInTypes, type EventTypes } from '../domain/custom-event-type.ts';
import { validationFailed } from '../domain/errors.ts';
import { type RawValue, rawElements, rawMember, rawValue } from '../domain/raw-json.ts';
import { draftEvent } from './event-drafts.ts';
import { validateEvent } from './event-schema.ts';
import { hashRequest } from './idempotency.ts';
import type { EventMaker } from './intake-work.ts';

const batchSize = { min: 1, max: 1_000 } as const;

export const cloudEventMediaTypes = [
  'application/cloudevents+json',
  'application/cloudevents',
  'application/cloudevents-batch+json',
  'application/cloudevents-batch',
] as const;

/** An event of the JSON event format, for the documentation: what it is made of is checked where it is translated. */
export const cloudEvent = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: z.string(),
    source: z.string(),
    type: z.string(),
    subject: z.string().optional(),
    time: z.string().optional(),
    data: z.unknown().optional(),
  })
  .meta({
    id: 'CloudEvent',
    description:
      'CloudEvents 1.0. `source` and `id` are its idempotency key. `type` is an event type, what the organization maps it to, or ends in one; ' +
      '`subject` is `<resource type>/<id>`. Extensions: severity, dedupkey, projectid, tenantid, environment.',
    example: {
      specversion: '1.0',
      id: 'A234-1234-1234',
      source: '/ci/pipelines/42',
      type: 'com.example.ci.deployment.failed',
      subject: 'deployment/api-platform',
      time: '2026-10-01T11:59:58.120Z',
      data: { step: 'migrate' },
    },
  });

export const cloudEventBatch = z.array(cloudEvent).min(batchSize.min).max(batchSize.max);

interface PostedRequest {
  mediaType: string;
  headers: RequestHeaders;
  rawBody: string;
  json: unknown;
}

/** One CloudEvent of a request. */
export interface ReceivedCloudEvent {
  make: EventMaker;
  /** Null: it has no source or id, and so is no event at all. */
  idempotency: { key: string; requestHash: Buffer } | null;
}

/** Reading one of a batch throws what is wrong with that one alone. */
export type ReceivedCloudEvents =
  | { kind: 'single'; event: ReceivedCloudEvent }
  | { kind: 'batch'; events: ReadonlyArray<() => ReceivedCloudEvent> };

/** The CloudEvents that a request carries; null: it carries none. Throws `unsupported_media_type`, `validation_failed`. */
export function readCloudEvents({ mediaType, headers, rawBody, json }: PostedRequest, now: Date): ReceivedCloudEvents | null {
  switch (cloudEventMode(mediaType, headers)) {
    case null:
      return null;
    case 'structured':
      return { kind: 'single', event: readStructured(json, rawBody, now) };
    case 'binary':
      return { kind: 'single', event: readBinary(headers, { json, rawBody }, now) };
    case 'batch': {
      assertBatch(json);
      const texts = rawElements(rawBody);
      return { kind: 'batch', events: json.map((event, i) => () => readStructured(event, texts[i]!, now)) };
    }
  }
}

function assertBatch(json: unknown): asserts json is unknown[] {
  const { min, max } = batchSize;
  if (!Array.isArray(json)) throw validationFailed([{ pointer: '', code: 'invalid_type', detail: 'must be an array' }]);
  if (json.length < min || json.length > max)
    throw validationFailed([{ pointer: '', code: 'out_of_range', detail: `must have ${min} to ${max} events` }]);
}

function readStructured(event: unknown, text: string, now: Date): ReceivedCloudEvent {
  const translate = (types: KnownTypes) => translateStructured(event, types);
  const identified = translate(knownTypes(builtInTypes));
  return receive(identified, translate, { data: rawMember(text, 'data'), now });
}

function readBinary(headers: RequestHeaders, { json, rawBody }: Pick<PostedRequest, 'json' | 'rawBody'>, now: Date): ReceivedCloudEvent {
  const translate = (types: KnownTypes) => translateBinary(headers, json, types);
  return receive(translate(knownTypes(builtInTypes)), translate, { data: json === undefined ? undefined : rawValue(rawBody), now });
}

/** Two events with one key are the same event only if they say the same, however each is carried. */
function receive(
  { idempotencyKey: key, identity }: CloudEventTranslation,
  translate: (types: KnownTypes) => CloudEventTranslation,
  { data, now }: { data: RawValue | undefined; now: Date },
): ReceivedCloudEvent {
  return {
    make: (types) => {
      const translation = translate(knownTypes(types));
      const validated = validateEvent(translation.input, { types, data, now });
      const faults = allFaults(translation, 'faults' in validated ? validated.faults : []);
      if ('faults' in validated || faults.length > 0) throw validationFailed(faults);
      return draftEvent(validated.posted, data, now);
    },
    idempotency: key === null ? null : { key, requestHash: hashRequest('post', '/events', `${identity}\n${data?.text ?? ''}`) },
  };
}

function knownTypes({ known, foreign }: EventTypes): KnownTypes {
  return { isKnown: (spelling) => known(spelling)?.own === false, map: foreign };
}
