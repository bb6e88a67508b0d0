/**
 * Cuts values out of JSON text without reading them: a producer's number text (`1.0`, `12345678901234567890`) and key order (`{"2":…,"1":…}`)
 * do not survive JSON.parse. Every function takes text that JSON.parse has accepted.
 */

export interface RawValue {
  /** The value's text without insignificant white space. */
  text: string;
  /** Nesting of objects and arrays; 0 for a scalar. */
  depth: number;
}

/** The last member `name` of the object that `text` is, as JSON.parse would choose it; undefined when there is none. */
export function rawMember(text: string, name: string): RawValue | undefined {
  let found: [number, number] | undefined;
  eachMember(text, skipSpace(text, 0), (key, from, to) => {
    if (key === name) found = [from, to];
  });
  return found === undefined ? undefined : compact(text.slice(...found));
}

/** The value that the whole of `text` is. */
export function rawValue(text: string): RawValue {
  const from = skipSpace(text, 0);
  return compact(text.slice(from, skipValue(text, from)));
}

/** The texts of the elements of the array that `text` is. */
export function rawElements(text: string): string[] {
  const elements: string[] = [];
  let at = skipSpace(text, skipSpace(text, 0) + 1);
  while (text[at] !== ']') {
    const end = skipValue(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return elements;
}

function eachMember(text: string, objectAt: number, visit: (key: string, from: number, to: number) => void): void {
  let at = skipSpace(text, objectAt + 1);
  while (text[at] !== '}') {
    const keyEnd = skipString(text, at);
    const key = JSON.parse(text.slice(at, keyEnd)) as string;
    const from = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const to = skipValue(text, from);
    visit(key, from, to);
    at = skipSpace(text, to);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
}

function compact(text: string): RawValue {
  let out = '';
  let depth = 0;
  let deepest = 0;
  let kept = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = skipString(text, at);
      continue;
    }
    if (isSpace(code)) {
      out += text.slice(kept, at);
      at = skipSpace(text, at);
      kept = at;
      continue;
    }
    if (isOpening(code)) deepest = Math.max(deepest, (depth += 1));
    else if (isClosing(code)) depth -= 1;
    at += 1;
  }
  return { text: kept === 0 ? text : out + text.slice(kept), depth: deepest };
}

const quote = 0x22;
const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
const isOpening = (code: number): boolean => code === 0x7b || code === 0x5b;
const isClosing = (code: number): boolean => code === 0x7d || code === 0x5d;

function skipSpace(text: string, at: number): number {
  while (isSpace(text.charCodeAt(at))) at += 1;
  return at;
}

/** @returns the index after the string that begins at `at`. */
function skipString(text: string, at: number): number {
  let end = text.indexOf('"', at + 1);
  for (;;) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
    end = text.indexOf('"', end + 1);
  }
}

/** @returns the index after the value that begins at `at`. */
function skipValue(text: string, at: number): number {
  let depth = 0;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      at = skipString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (isOpening(code)) depth += 1;
    else if (isClosing(code)) {
      depth -= 1;
      if (depth === 0) return at + 1;
      // The end of what holds this scalar.
      if (depth < 0) return at;
    } else if (depth === 0 && (code === 0x2c || isSpace(code) || Number.isNaN(code))) return at;
    at += 1;
  }
}
