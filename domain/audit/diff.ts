/** The difference of two JSON values as JSON Pointer (RFC 6901) operations, computed on what was redacted already. */
import type { JsonObject, JsonValue } from './canonical.ts';

export type Difference = {
  readonly op: 'add' | 'remove' | 'replace';
  readonly path: string;
  readonly before?: JsonValue;
  readonly after?: JsonValue;
};

/** Operations that turn `before` into `after` when applied in order; members in the order of their names, arrays by position. */
export function diffValues(before: JsonValue, after: JsonValue): Difference[] {
  const differences: Difference[] = [];
  compare(before, after, '', differences);
  return differences;
}

/** Top-level names whose values differ, in UTF-16 order. Works on raw values: a redacted secret still shows as changed. */
export function changedNames(before: object, after: object): string[] {
  const was = new Map<string, unknown>(Object.entries(before));
  const is = new Map<string, unknown>(Object.entries(after));
  return [...new Set([...was.keys(), ...is.keys()])].filter((name) => !sameValue(was.get(name), is.get(name))).sort();
}

function sameValue(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true;
  if (left instanceof Date || right instanceof Date)
    return left instanceof Date && right instanceof Date && left.getTime() === right.getTime();
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const leftMembers = Object.entries(left).filter(([, value]) => value !== undefined);
  const rightMembers = new Map(Object.entries(right).filter(([, value]) => value !== undefined));
  return (
    leftMembers.length === rightMembers.size &&
    leftMembers.every(([key, value]) => rightMembers.has(key) && sameValue(value, rightMembers.get(key)))
  );
}

function compare(before: JsonValue, after: JsonValue, path: string, found: Difference[]): void {
  if (before === after) return;
  if (Array.isArray(before) && Array.isArray(after)) {
    compareArrays(before as readonly JsonValue[], after as readonly JsonValue[], path, found);
  } else if (isObject(before) && isObject(after)) {
    compareObjects(before, after, path, found);
  } else {
    found.push({ op: 'replace', path, before, after });
  }
}

function compareArrays(before: readonly JsonValue[], after: readonly JsonValue[], path: string, found: Difference[]): void {
  const shared = Math.min(before.length, after.length);
  for (let i = 0; i < shared; i += 1) compare(before[i]!, after[i]!, `${path}/${i}`, found);
  // from the end, so that applying the operations in order removes the right elements
  for (let i = before.length - 1; i >= shared; i -= 1) found.push({ op: 'remove', path: `${path}/${i}`, before: before[i]! });
  for (let i = shared; i < after.length; i += 1) found.push({ op: 'add', path: `${path}/${i}`, after: after[i]! });
}

function compareObjects(before: JsonObject, after: JsonObject, path: string, found: Difference[]): void {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  for (const key of keys) {
    const at = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const was = Object.hasOwn(before, key) ? before[key] : undefined;
    const is = Object.hasOwn(after, key) ? after[key] : undefined;
    if (was === undefined && is !== undefined) found.push({ op: 'add', path: at, after: is });
    else if (was !== undefined && is === undefined) found.push({ op: 'remove', path: at, before: was });
    else if (was !== undefined && is !== undefined) compare(was, is, at, found);
  }
}

/** What stands for a value that was replaced is no object with members: it differs as a whole. */
function isObject(value: JsonValue): value is JsonObject {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !Object.hasOwn(value, '$truncated') &&
    !Object.hasOwn(value, '$redacted')
  );
}
