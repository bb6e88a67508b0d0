#!/usr/bin/env node
/**
 * Checks what Tocsin exported, on any machine with Node 20 or newer: no server, no database, no package, no code of Tocsin's. The format is
 * docs/audit-format.md.
 *
 *     node tocsin-verify.mjs escalation FILE [--root HEX] [--size N]
 *
 * FILE is the answer of GET /api/v2/escalations/{id}/proof as it was received. --root and --size are a head of the same log that was kept
 * elsewhere: without one, a log that was rewritten as a whole would not show.
 *
 * Exit codes: 0 everything holds, 1 something was altered, 2 it holds but is not complete, 3 wrong usage.
 */
import { createHash } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const usage = 'usage: node tocsin-verify.mjs escalation FILE [--root HEX] [--size N]';

/** Something does not hold: the file is not what the log has. */
class Altered extends Error {}

class Usage extends Error {}

/** @param {unknown} condition @param {string} fault */
function check(condition, fault) {
  if (!condition) throw new Altered(fault);
}

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const hashLeaf = (bytes) => sha256(Buffer.of(0), bytes);
const hashNode = (left, right) => sha256(Buffer.of(1), left, right);
const isHash = (text) => typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);

/** RFC 9162 section 2.1.3.2. */
function leadsToRoot({ index, size, leaf, path, root }) {
  if (index >= size) return false;
  let [position, last, node] = [index, size - 1, leaf];
  for (const sibling of path) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      node = hashNode(sibling, node);
      while (position % 2 === 0 && position !== 0) [position, last] = [Math.floor(position / 2), Math.floor(last / 2)];
    } else {
      node = hashNode(node, sibling);
    }
    [position, last] = [Math.floor(position / 2), Math.floor(last / 2)];
  }
  return last === 0 && node.equals(root);
}

/** RFC 8785, for the values that documents hold. */
function canonicalize(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonicalize(value[name])}`).join(',')}}`;
}

/** The private values of an entry by name, each of which its document must have committed to. */
function disclose(document, disclosures, where) {
  const values = new Map();
  for (const disclosure of disclosures) {
    check(typeof disclosure === 'string', `${where}: a disclosure is no text`);
    const text = Buffer.from(disclosure, 'base64url').toString('utf8');
    check(Buffer.from(text).toString('base64url') === disclosure, `${where}: a disclosure is not base64url`);
    const [salt, name, value, ...rest] = parse(text, `${where}: a disclosure`);
    check(typeof salt === 'string' && typeof name === 'string' && rest.length === 0, `${where}: a disclosure has another form`);
    const commitment = createHash('sha256').update(disclosure, 'ascii').digest('base64url');
    check(document.commitments?.[name] === commitment, `${where}: the value of ${name} is not the one that was committed to`);
    check(!values.has(name), `${where}: ${name} is disclosed twice`);
    values.set(name, value);
  }
  return values;
}

function parse(text, what) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Altered(`${what} is no JSON`);
  }
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** One entry of the file, checked: its bytes are in the log, and its private values are those of the bytes. */
function readEntry({ index, canonical, disclosures, path, ...rest }, { size, root, where }) {
  check(Number.isSafeInteger(index) && index >= 0 && typeof canonical === 'string', `${where}: malformed`);
  check(Array.isArray(disclosures) && Array.isArray(path) && path.every(isHash) && Object.keys(rest).length === 0, `${where}: malformed`);
  const leaf = hashLeaf(Buffer.from(canonical, 'utf8'));
  const siblings = path.map((hash) => Buffer.from(hash, 'hex'));
  check(leadsToRoot({ index, size, leaf, path: siblings, root }), `${where}: its bytes do not lead to the root of the log`);
  const document = parse(canonical, where);
  check(canonicalize(document) === canonical, `${where}: its bytes are not canonical`);
  check(document.v === 1 && uuid.test(document.id), `${where}: it is no entry of a version that is known here`);
  const idTime = new Date(Number.parseInt(document.id.replace('-', '').slice(0, 12), 16)).toISOString();
  check(idTime === document.recordedAt, `${where}: its id is of another time`);
  const values = disclose(document, disclosures, where);
  const details = { ...values.get('details'), ...document.details };
  return { index, document, values, details, leaf: leaf.toString('hex') };
}

/** The file as a whole: what it says of itself, its entries, and that they are of one escalation. */
function readProof(bytes) {
  const text = bytes.toString('utf8').replace(/\r?\n$/, '');
  check(Buffer.from(text, 'utf8').equals(bytes.subarray(0, Buffer.byteLength(text))), 'the file is no UTF-8 text');
  const proof = parse(text, 'the file');
  check(proof?.format === 'tocsin-escalation-proof/1', 'the file is no escalation proof of a format that is known here');
  check(JSON.stringify(proof) === text, 'the file is not as it was exported: it must be kept byte for byte');
  const { digest, ...content } = proof;
  check(digest === createHash('sha256').update(JSON.stringify(content)).digest('hex'), 'the file does not have its own digest');
  const { checkpoint, entries, pending, escalation } = content;
  check(Array.isArray(entries) && Array.isArray(pending) && typeof escalation?.uuid === 'string', 'the file is malformed');
  if (checkpoint === null) {
    check(entries.length === 0, 'entries without a head of the log');
    return { ...content, entries: [] };
  }
  check(Number.isSafeInteger(checkpoint.size) && isHash(checkpoint.rootHash), 'the head of the log is malformed');
  const root = Buffer.from(checkpoint.rootHash, 'hex');
  const read = entries.map((entry, place) =>
    readEntry(entry, { size: checkpoint.size, root, where: `entry ${place + 1} (index ${entry?.index})` }),
  );
  checkTogether(read, escalation.uuid);
  return { ...content, entries: read };
}

/** Each entry once, all of one organization, all about this escalation. */
function checkTogether(entries, escalationId) {
  check(new Set(entries.map(({ index }) => index)).size === entries.length, 'an index comes twice');
  check(new Set(entries.map(({ document }) => document.id)).size === entries.length, 'an entry comes twice');
  check(new Set(entries.map(({ document }) => document.orgId)).size <= 1, 'the entries are of several organizations');
  for (const { index, document } of entries) {
    const isAbout = document.correlation?.escalationId === escalationId || document.resource?.id === escalationId;
    // an event that came before it may have joined it later
    check(isAbout || document.action === 'event.ingest', `entry of index ${index}: it is about something else`);
  }
}

const short = (text) => JSON.stringify(text);
const personOf = ({ document: { actor }, values }) => {
  const name = values.get('actor.name') ?? values.get('actor.email');
  const known = name === undefined ? `${actor.type} ${actor.id}` : `${name} (${actor.type} ${actor.id})`;
  return actor.onBehalfOf === undefined ? known : `${known} on behalf of ${actor.onBehalfOf}`;
};

/** What the entries prove, told in the order in which it was recorded. */
function tell(entries) {
  const is = (action) => entries.filter(({ document }) => document.action === action);
  const lines = [];
  const add = (entry, text) => lines.push({ at: entry.document.recordedAt, index: entry.index, text });
  for (const entry of is('event.ingest'))
    add(entry, `event ${entry.document.resource.id} came: ${entry.details.eventType}, ${entry.details.severity}`);
  for (const entry of is('escalation.trigger'))
    add(entry, `escalation began (${entry.details.reason}), policy version ${entry.details.policyVersion}`);
  for (const entry of is('escalation.notify')) {
    const whom = [...new Set(recipientsOf(entry).map(({ label }) => label))];
    const what = entry.details.firing === undefined ? entry.details.purpose : `firing ${entry.details.firing}`;
    add(entry, `${what}, round ${entry.details.round}, tier ${entry.details.tier}: ${whom.join(', ')} told`);
  }
  for (const entry of is('delivery.attempt')) add(entry, tellAttempt(entry));
  for (const entry of entries) {
    const { action, status, reason } = entry.document;
    const verb = /^escalation\.(acknowledge|unacknowledge|escalate|snooze|reassign|rebase|resolve|exhaust)$/.exec(action)?.[1];
    if (verb === undefined) continue;
    const how = entry.details.proof === undefined ? '' : ` by ${personOf(entry)} with proof ${entry.details.proof}${tellPath(entry)}`;
    const what =
      status === 'success' ? (entry.details.already === true ? `${verb}, which it was already` : verb) : `${verb} refused (${reason})`;
    add(entry, what + how);
  }
  return lines
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : a.index - b.index))
    .map(({ at, index, text }) => `${at}  #${index}  ${text}`);
}

function tellPath({ details, values }) {
  const parts = [
    details.path === undefined ? undefined : `path ${details.path}`,
    details.linkId === undefined ? undefined : `link ${details.linkId}`,
    values.get('ip') === undefined ? undefined : `address ${values.get('ip')}`,
    values.get('userAgent') === undefined ? undefined : `user agent ${short(values.get('userAgent'))}`,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}

function tellAttempt({ document, details }) {
  const facts = [
    details.statusCode === undefined ? undefined : `status ${details.statusCode}`,
    details.messageId === undefined ? undefined : `message ${details.messageId}`,
    details.reply === undefined ? undefined : `answer ${short(details.reply)}`,
    details.bodySha256 === undefined ? undefined : `body SHA-256 ${details.bodySha256}`,
    document.reason,
  ].filter((fact) => fact !== undefined);
  const place = details.firing === undefined ? '' : ` of firing ${details.firing}`;
  return `delivery ${document.resource.id}${place} to ${labelOf(targetOf(document))}: attempt ${details.attempt} ${details.outcome} (${facts.join(', ')})`;
}

/** Of an attempt: the person, else the channel or webhook. */
const targetOf = ({ targets = [] }) => targets.find(({ type }) => type === 'user') ?? targets[0] ?? { type: 'nobody', id: '' };
const labelOf = ({ type, id }) => `${type} ${id}`;

/** Whom a firing told. Contact methods are called by whose they are, as far as the entry tells. */
function recipientsOf({ document, details }) {
  const named = details.recipients ?? document.targets ?? [];
  return named.map(({ type, id, userId }) => ({
    type,
    id,
    label: userId === undefined ? labelOf({ type, id }) : labelOf({ type: 'user', id: userId }),
  }));
}

/** Whether an attempt is one at what a firing sent to a recipient. The watchdog's messages are of no firing. */
function isAttemptAt({ document, details }, firing, { type, id }) {
  const isOfFiring =
    firing.purpose === 'watchdog' ? details.path === 'watchdog' : details.firing !== undefined && details.firing === firing.firing;
  const wanted = type === 'contact' ? 'contact_method' : type;
  return isOfFiring && (document.targets ?? []).some((target) => target.type === wanted && target.id === id);
}

/** "U paged at t1, delivered; acknowledged at t2 by A with proof P", for each firing, and what is missing for it. */
function claim(entries) {
  const attempts = entries.filter(({ document }) => document.action === 'delivery.attempt');
  const acknowledged = entries.filter(
    ({ document, details }) => document.action === 'escalation.acknowledge' && document.status === 'success' && details.already !== true,
  );
  const claims = [];
  const missing = [];
  if (!entries.some(({ document }) => document.action === 'escalation.trigger')) missing.push('the beginning of the escalation');
  const firings = entries.filter(({ document }) => document.action === 'escalation.notify');
  if (firings.length === 0) missing.push('a firing');
  for (const firing of firings) {
    for (const recipient of recipientsOf(firing)) {
      const own = attempts.filter((attempt) => isAttemptAt(attempt, firing.details, recipient));
      const delivered = own.find(({ document, details }) => details.outcome === 'delivered' && document.status === 'success');
      const fate =
        delivered === undefined
          ? own.length === 0
            ? 'no attempt recorded'
            : 'not delivered'
          : `delivered at ${delivered.document.recordedAt}`;
      const answer = acknowledged.find(({ document }) => document.recordedAt >= firing.document.recordedAt);
      const end =
        answer === undefined
          ? 'not acknowledged'
          : `acknowledged at ${answer.document.recordedAt} by ${personOf(answer)} with proof ${answer.details.proof}`;
      claims.push(`${recipient.label} paged at ${firing.document.recordedAt}, ${fate}; ${end}`);
    }
  }
  return { claims, missing };
}

function readOptions(args) {
  const options = {};
  for (let at = 0; at < args.length; at += 2) {
    const [name, value] = [args[at], args[at + 1]];
    if (name === '--root' && isHash(value)) options.root = value;
    else if (name === '--size' && /^[1-9]\d*$/.test(value ?? '')) options.size = Number(value);
    else throw new Usage(usage);
  }
  return options;
}

/**
 * An exported file, with every byte of it checked; whatever cannot be read as a proof at all was not exported so.
 * @param {Buffer} file
 */
export function readExport(file) {
  try {
    return readProof(file);
  } catch (error) {
    throw error instanceof Altered ? error : new Altered(`the file is malformed (${error.message})`);
  }
}

function verifyEscalation(file, { root, size }) {
  const { escalation, checkpoint, entries, pending, complete } = readExport(file);
  check(root === undefined || checkpoint?.rootHash === root, 'the root is not the one that was kept');
  check(size === undefined || checkpoint?.size === size, 'the log has another size than the head that was kept');
  const { claims, missing } = claim(entries);
  const write = (line) => process.stdout.write(`${line}\n`);
  write(`Escalation ${escalation.id} (${escalation.uuid})`);
  if (checkpoint !== null) {
    const anchor = root === undefined ? 'not compared with a head kept elsewhere (--root)' : 'as it was kept';
    write(`Log ${checkpoint.origin}: ${checkpoint.size} entries, root ${checkpoint.rootHash}, ${anchor}`);
  }
  write('');
  for (const line of tell(entries)) write(line);
  write('');
  for (const line of claims) write(`PROVEN  ${line}`);
  for (const { id, action } of pending) write(`PENDING  ${action} (${id}) has no place in the log yet`);
  for (const what of missing) write(`MISSING  ${what}`);
  write(`${entries.length} entries verified.`);
  return complete && missing.length === 0 ? 0 : 2;
}

function main([command, path, ...rest]) {
  try {
    if (command !== 'escalation' || path === undefined) throw new Usage(usage);
    const options = readOptions(rest);
    return verifyEscalation(readFileSync(path), options);
  } catch (error) {
    process.stderr.write(`${error instanceof Altered ? `ALTERED  ${error.message}` : error.message}\n`);
    return error instanceof Altered ? 1 : 3;
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = main(process.argv.slice(2));
