import type { Fault } from './errors.ts';
import { type Category, type Effect, type EventType, eventTypes, familyOf, type Feed, findEventType } from './event-type.ts';
import type { Severity } from './severity.ts';

/** Event types that an organization adds to the catalogue, in one name space with it. */

export const customTypeRules = {
  typeLength: 100,
  aliases: 20,
  descriptionLength: 200,
  perOrganization: 500,
  /** Foreign `type` attributes that an organization gives names of its own. */
  mapped: 200,
} as const;

/** As one is stored. */
export interface CustomEventType {
  type: string;
  category: Category;
  feed: Feed;
  description: string;
  defaultSeverity: Severity;
  effect: Effect;
  family: string;
  aliases: readonly string[];
}

/** What the events of one organization may be of. */
export interface EventTypes {
  /** The type that a spelling means: built in or the organization's. */
  known: (spelling: string) => EventType | undefined;
  /** The same; for an organization that takes unknown types any other name that could be one's, too. */
  find: (spelling: string) => EventType | undefined;
  /** The organization's own. */
  custom: readonly EventType[];
  /** What it calls the foreign `type` attributes of its producers. */
  foreign: ReadonlyMap<string, string>;
  acceptsUnknown: boolean;
}

/** The types of an organization that has added none. */
export const builtInTypes: EventTypes = {
  known: findEventType,
  find: findEventType,
  custom: [],
  foreign: new Map(),
  acceptsUnknown: false,
};

export function eventTypesOf(
  rows: readonly CustomEventType[],
  {
    foreign = {},
    acceptsUnknown = false,
  }: { foreign?: Readonly<Record<string, string>> | undefined; acceptsUnknown?: boolean | undefined },
): EventTypes {
  if (rows.length === 0 && Object.keys(foreign).length === 0 && !acceptsUnknown) return builtInTypes;
  const custom = rows.map((row): EventType => ({ ...row, audience: [], own: false }));
  const bySpelling = new Map(custom.flatMap((type) => [type.type, ...type.aliases].map((spelling) => [spelling, type] as const)));
  const known = (spelling: string): EventType | undefined => findEventType(spelling) ?? bySpelling.get(spelling);
  return {
    known,
    find: (spelling) =>
      known(spelling) ?? (acceptsUnknown && isTypeName(spelling) && !isReserved(spelling) ? unknownType(spelling) : undefined),
    custom,
    foreign: new Map(Object.entries(foreign)),
    acceptsUnknown,
  };
}

/** Merely occurs: what it means nobody has said. */
function unknownType(type: string): EventType {
  return {
    type,
    category: 'custom',
    feed: 'system',
    description: describeType(type),
    audience: [],
    defaultSeverity: 'info',
    effect: 'occur',
    family: familyOf(type),
    aliases: [],
    own: false,
  };
}

/** `payment.charge_failed`: "Payment charge failed". */
export function describeType(type: string): string {
  const words = type.replaceAll(/[._]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const typeName = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,3}$/;
const familyName = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,3}$/;

/** Whether an event type could be called that. */
export function isTypeName(text: string): boolean {
  return text.length <= customTypeRules.typeLength && typeName.test(text);
}

const ownNouns = new Set(eventTypes.filter(({ own }) => own).map(({ type }) => type.split('.', 1)[0]!));

/** Whether the name begins with a noun of which only Tocsin speaks. */
export function isReserved(name: string): boolean {
  return ownNouns.has(name.split('.', 1)[0]!);
}

/** What is wrong with the names of a type by themselves, wherever else they are used. Pointers are into the type. */
export function typeNameFaults({ type, family, aliases }: Pick<CustomEventType, 'type' | 'family' | 'aliases'>): Fault[] {
  const named = [
    { pointer: '/type', name: type, isWellFormed: isTypeName },
    {
      pointer: '/family',
      name: family,
      isWellFormed: (name: string) => name.length <= customTypeRules.typeLength && familyName.test(name),
    },
    ...aliases.map((name, i) => ({ pointer: `/aliases/${i}`, name, isWellFormed: isTypeName })),
  ];
  return named.flatMap(({ pointer, name, isWellFormed }, at) => {
    if (!isWellFormed(name)) return [{ pointer, code: 'invalid_format', detail: 'must be lower-case words separated by dots' }];
    if (isReserved(name)) return [{ pointer, code: 'reserved_event_type', detail: 'begins with a noun that only Tocsin posts events of' }];
    const isRepeated = pointer !== '/family' && named.some((other, j) => j < at && other.pointer !== '/family' && other.name === name);
    return isRepeated ? [{ pointer, code: 'duplicate_value', detail: 'is named already' }] : [];
  });
}

/** The names of the type that mean something else already. `others`: the organization's other types. */
export function takenNames(
  { type, aliases }: Pick<CustomEventType, 'type' | 'aliases'>,
  others: ReadonlyArray<Pick<CustomEventType, 'type' | 'aliases'>>,
): Fault[] {
  const meaning = (name: string): string | undefined =>
    findEventType(name)?.type ?? others.find((other) => other.type === name || other.aliases.includes(name))?.type;
  return [type, ...aliases].flatMap((name, at) => {
    const means = meaning(name);
    if (means === undefined) return [];
    const detail = means === name ? 'is an event type already' : `is an alias of ${means} already`;
    return [{ pointer: at === 0 ? '/type' : `/aliases/${at - 1}`, code: 'duplicate_type', detail }];
  });
}
