/** Which members of a draft are private, whose they are, and in what form they are committed. */
import { isPersonalType, isSecretType } from './actions.ts';
import { canonicalize, type JsonObject, type JsonValue } from './canonical.ts';
import { diffValues } from './diff.ts';
import type { AuditDraft, AuditMessage } from './draft.ts';
import { bounded, canonicalIp, freeText, limits, truncationMarker } from './limits.ts';
import { redact, redacted, redactHeaders, redactMembers } from './redact.ts';

export interface PrivateValue {
  readonly name: string;
  /** The person it concerns; undefined: nobody in particular. */
  readonly subjectId: string | undefined;
  /** Canonical JSON of the redacted, truncated value. */
  readonly text: string;
}

/** Everything private in the draft, in the UTF-16 order of the names. `details` are those that may not stand in clear. */
export function collectPrivateValues(draft: AuditDraft, details: JsonObject | undefined): PrivateValue[] {
  const { actor, resource } = draft;
  const personal = resource !== undefined && isPersonalType(resource.type);
  const owner = personal ? (resource.subjectId ?? resource.id) : undefined;
  const values: PrivateValue[] = [];
  const add = (name: string, subjectId: string | undefined, text: string): void => {
    values.push({ name, subjectId, text });
  };
  const addText = (name: string, subjectId: string | undefined, text: string | undefined, maxLength: number): void => {
    if (text !== undefined) add(name, subjectId, canonicalize(freeText(text, name, maxLength)));
  };

  addText('actor.email', actor.id, actor.email, 320);
  addText('actor.name', actor.id, actor.name, 256);
  if (draft.before !== undefined || draft.after !== undefined) {
    for (const [name, text] of stateTexts(draft)) add(name, owner, text);
  }
  addText('breakGlass.justification', undefined, draft.breakGlass?.justification, 1_000);
  if (details !== undefined) add('details', undefined, bounded(details, limits.privateDetailsBytes).text);
  if (draft.ip !== undefined) add('ip', actor.id, canonicalize(canonicalIp(draft.ip)));
  if (draft.request !== undefined) add('request', undefined, messageText(draft.request, 'request'));
  if (personal) addText('resource.name', owner, resource.name, 256);
  if (draft.response !== undefined) add('response', undefined, messageText(draft.response, 'response'));
  draft.targets?.forEach((target, i) => {
    if (isPersonalType(target.type)) addText(`targets.${i}.name`, target.subjectId ?? target.id, target.name, 256);
  });
  addText('userAgent', actor.id, draft.userAgent, 512);
  return values.length > 1 ? values.sort((left, right) => (left.name < right.name ? -1 : 1)) : values;
}

/** Before, after and their difference: that of what is stored, so that whoever may read both can check it. */
function stateTexts(draft: AuditDraft): Array<[name: string, text: string]> {
  const before = draft.before === undefined ? undefined : redactState(draft.before, draft, 'before');
  const after = draft.after === undefined ? undefined : redactState(draft.after, draft, 'after');
  const texts: Array<[string, string]> = [];
  if (before !== undefined) texts.push(['before', before.text]);
  if (after !== undefined) texts.push(['after', after.text]);
  if (before !== undefined && after !== undefined && before.text !== after.text) {
    const differences = diffValues(before.value, after.value);
    const { text } = bounded(differences, limits.snapshotBytes);
    texts.push(['diff', differences.length > limits.differences ? canonicalize(truncationMarker(canonicalize(differences))) : text]);
  }
  return texts;
}

function redactState(state: object, { resource }: AuditDraft, field: string): { value: JsonValue; text: string } {
  if (resource !== undefined && isSecretType(resource.type)) return bounded(redacted, limits.snapshotBytes);
  const copy = redactMembers(state, field);
  if ('headers' in state && typeof state.headers === 'object' && state.headers !== null) {
    copy['headers'] = redactHeaders(state.headers, `${field}.headers`);
  }
  // what a channel needs to speak to its provider is secret as a whole: an address may be a capability
  if (resource?.type === 'channel' && copy['settings'] !== undefined) copy['settings'] = redacted;
  return bounded(copy, limits.snapshotBytes);
}

function messageText({ query, headers, body }: AuditMessage, field: string): string {
  const message: Record<string, JsonValue> = {};
  if (query !== undefined) message['query'] = redact(query, field);
  if (headers !== undefined) message['headers'] = redactHeaders(headers, field);
  if (body !== undefined) message['body'] = redact(body, field);
  return bounded(message, limits.messageBytes).text;
}

/** Parts details into what the action's schema declares clear (scalars, 8 KiB in all) and the rest. */
export function splitDetails(
  details: Readonly<Record<string, unknown>> | undefined,
  clearNames: ReadonlySet<string>,
): { clear: JsonObject | undefined; private: JsonObject | undefined } {
  if (details === undefined) return { clear: undefined, private: undefined };
  const rest = redactMembers(details, 'details');
  const clear: Record<string, JsonValue> = {};
  let clearBytes = 2;
  let clearCount = 0;
  for (const name of clearNames) {
    const value = rest[name];
    if (value === undefined || typeof value === 'object') continue;
    // an upper bound: what does not fit for sure becomes private
    const bytes = name.length + 4 + 3 * String(value).length;
    if (clearBytes + bytes > limits.clearDetailsBytes) continue;
    clearBytes += bytes;
    clear[name] = value;
    clearCount += 1;
    delete rest[name];
  }
  return { clear: clearCount === 0 ? undefined : clear, private: Object.keys(rest).length === 0 ? undefined : rest };
}
