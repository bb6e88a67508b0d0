import { DomainError, type Fault, validationFailed } from './errors.ts';
import { clipLine, type EventInput, isJsonObject, type JsonObject, jsonPointer } from './foreign-event.ts';
import { sha256Hex } from './hash.ts';

/** CloudEvents 1.0 (the JSON event format and the HTTP protocol binding) into events of ours. */

const requiredAttributes = ['specversion', 'id', 'source', 'type'] as const;

/** No event type of ours has more. */
const maxTypeWords = 4;

/** Attributes that are passed on as they are, and what they are called here. */
const passedOn = [
  ['source', 'source'],
  ['severity', 'severity'],
  ['dedupkey', 'dedupKey'],
  ['projectid', 'projectId'],
  ['tenantid', 'tenantId'],
  ['environment', 'environment'],
  ['time', 'occurredAt'],
] as const satisfies ReadonlyArray<readonly [attribute: string, field: keyof EventInput]>;

const readAttributes = [...new Set([...requiredAttributes, 'subject', ...passedOn.map(([attribute]) => attribute)])];

/** By field of the event, the attribute that a fault of the field is about. */
const attributeOf: Readonly<Record<string, string>> = {
  type: 'type',
  resource: 'subject',
  ...Object.fromEntries(passedOn.map(([attribute, field]) => [field, attribute])),
};

/** Lower-case names, as Node gives them. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Which event types an organization takes. */
export interface KnownTypes {
  /** Whether a producer may post this spelling: canonical, alias or custom. */
  isKnown: (spelling: string) => boolean;
  /** The organization's own names for the `type` attributes of its producers. */
  map: ReadonlyMap<string, string>;
}

export interface CloudEventTranslation {
  input: EventInput;
  /** Of what validating `input` cannot find. */
  faults: readonly Fault[];
  /** Source and id say which event it is: the same again is the same request. Null when one of them is missing. */
  idempotencyKey: string | null;
  /** Everything of it that is read, but its data: the same event says the same, however it is carried. */
  identity: string;
  mode: 'structured' | 'binary';
}

/**
 * How a request carries CloudEvents, by its media type (lower case, without parameters) and headers; null: not at all. Throws
 * `unsupported_media_type` for an event format other than JSON.
 */
export function cloudEventMode(mediaType: string, headers: RequestHeaders): 'structured' | 'batch' | 'binary' | null {
  if (mediaType === 'application/cloudevents+json' || mediaType === 'application/cloudevents') return 'structured';
  if (mediaType === 'application/cloudevents-batch+json' || mediaType === 'application/cloudevents-batch') return 'batch';
  if (mediaType.startsWith('application/cloudevents')) {
    throw new DomainError('unsupported_media_type', 'CloudEvents are taken in the JSON event format.');
  }
  // any of them: who forgets one should hear that, not that his payload is no event
  return requiredAttributes.some((name) => headers[`ce-${name}`] !== undefined) ? 'binary' : null;
}

/**
 * One event in the JSON format, parsed; of a batch, one element. Throws `unsupported_media_type` for binary data, `validation_failed`
 * when it is no object. Its data, to be kept as posted, is the member `data` of its text.
 */
export function translateStructured(event: unknown, types: KnownTypes): CloudEventTranslation {
  if (!isJsonObject(event)) throw validationFailed([{ pointer: '', code: 'invalid_type', detail: 'must be an object' }]);
  if (event['data_base64'] !== undefined && event['data_base64'] !== null) {
    throw new DomainError('unsupported_media_type', 'Binary data (data_base64) is not taken.');
  }
  const { data, ...attributes } = event;
  return translate({ attributes, data, types, mode: 'structured', faults: [] });
}

/**
 * An event whose attributes are the `ce-` headers and whose data is the body, parsed JSON (undefined: none). Its data as posted is the
 * body's text.
 */
export function translateBinary(headers: RequestHeaders, data: unknown, types: KnownTypes): CloudEventTranslation {
  const faults: Fault[] = [];
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith('ce-') || value === undefined) continue;
    const text = decodeHeader(typeof value === 'string' ? value : value.join(', '));
    if (text !== null) attributes[name.slice('ce-'.length)] = text;
    else {
      const detail = 'must be printable ASCII, anything else percent-encoded UTF-8';
      faults.push({ pointer: jsonPointer('headers', name), code: 'invalid_format', detail });
    }
  }
  return translate({ attributes, data, types, mode: 'binary', faults });
}

/** The translation's own faults and those of validating its `input`, all pointing into what was posted: once for each place. */
export function allFaults({ faults, mode }: CloudEventTranslation, ofInput: readonly Fault[]): Fault[] {
  const all = [...faults];
  for (const fault of ofInput) {
    const pointer = postedPointer(fault.pointer, mode);
    if (!all.some((known) => known.pointer === pointer)) all.push({ ...fault, pointer });
  }
  return all;
}

function postedPointer(pointer: string, mode: CloudEventTranslation['mode']): string {
  const field = pointer.split('/', 2)[1] ?? '';
  const attribute = attributeOf[field];
  if (attribute !== undefined) return attributePointer(attribute, mode);
  // data is the whole body there
  return mode === 'binary' && field === 'data' ? pointer.slice('/data'.length) : pointer;
}

interface Parts {
  attributes: JsonObject;
  data: unknown;
  types: KnownTypes;
  mode: CloudEventTranslation['mode'];
  faults: Fault[];
}

function translate({ attributes, data, types, mode, faults }: Parts): CloudEventTranslation {
  const broken = new Set(faults.map(({ pointer }) => pointer));
  const read = (name: string, isRequired: boolean): string | null => {
    const value = attributes[name] ?? undefined;
    const pointer = attributePointer(name, mode);
    if (typeof value === 'string' && value !== '' && !/[\p{Cc}\p{Cs}]/u.test(value)) return value;
    if (value === undefined || value === '') {
      if (isRequired && !broken.has(pointer)) faults.push({ pointer, code: 'required', detail: 'is required' });
    } else if (typeof value !== 'string') faults.push({ pointer, code: 'invalid_type', detail: 'must be a string' });
    else faults.push({ pointer, code: 'control_character', detail: 'must not hold control characters' });
    return null;
  };
  const [version, id, source, type] = requiredAttributes.map((name) => read(name, true));
  if (typeof version === 'string' && version !== '1.0') {
    faults.push({ pointer: attributePointer('specversion', mode), code: 'unknown_value', detail: 'must be 1.0' });
  }
  const subject = read('subject', false);
  const values = passedOn.map(([attribute, field]) => [field, attributes[attribute]] as const);
  return {
    input: {
      ...Object.fromEntries(values.filter(([, value]) => value !== undefined && value !== null)),
      ...(typeof type === 'string' && { type: findType(type, types), subject: titleOf(data) || clipLine(type, 256) }),
      ...(subject !== null && { resource: splitSubject(subject) }),
      ...(data !== undefined && { data }),
    },
    faults,
    idempotencyKey: typeof id === 'string' && typeof source === 'string' ? `ce:${sha256Hex(`${source}\n${id}`)}` : null,
    identity: JSON.stringify(readAttributes.map((name) => attributes[name] ?? null)),
    mode,
  };
}

/**
 * Our type for a `type` attribute: the same, else what the organization maps it to, else its longest dotted suffix that is one of ours
 * (`com.example.deployment.failed`). One that means nothing stays, for validation to say so.
 */
function findType(type: string, { isKnown, map }: KnownTypes): string {
  if (isKnown(type)) return type;
  const mapped = map.get(type);
  if (mapped !== undefined) return mapped;
  const words = type.split('.').slice(-maxTypeWords);
  const suffixes = words.map((_, from) => words.slice(from).join('.'));
  return suffixes.find((suffix) => isKnown(suffix)) ?? type;
}

/** `deployment/api-platform`: type and id. Without both parts it is all id. */
function splitSubject(subject: string): { type: string; id: string } {
  const [, type, id] = /^([^/]+)\/(.+)$/.exec(subject) ?? [];
  return type === undefined || id === undefined ? { type: 'subject', id: subject } : { type, id };
}

/** The payload is the producer's: what it calls subject may be long, or none. */
function titleOf(data: unknown): string {
  return isJsonObject(data) && typeof data['subject'] === 'string' ? clipLine(data['subject'], 256) : '';
}

function attributePointer(name: string, mode: CloudEventTranslation['mode']): string {
  return mode === 'binary' ? jsonPointer('headers', `ce-${name}`) : jsonPointer(name);
}

/**
 * HTTP protocol binding 3.1.3.2: unquote, then percent-decode once. Null when it cannot be, or is not ASCII: how such bytes were meant
 * nobody knows.
 */
function decodeHeader(value: string): string | null {
  const text = /^".*"$/.test(value) ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value;
  if (!/^[\x20-\x7e]*$/.test(text)) return null;
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
