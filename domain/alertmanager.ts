import { type Fault, validationFailed } from './errors.ts';
import { clipLine, clipProse, type EventInput, isJsonObject, jsonPointer } from './foreign-event.ts';
import { findSeverity } from './severity.ts';

/** How many of an alert's labels are kept, in the order that Alertmanager sends them. */
const maxLabels = 32;

/** RFC 3339 as Go writes it: up to nanoseconds, any offset. */
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/**
 * The events of one call of Alertmanager's webhook (payload version 4, `application/json`), one per alert and in its order. What a person
 * wrote into an alerting rule is clipped where it does not fit, and left out where it means nothing here (a severity `page`): Alertmanager
 * drops for good what is refused, and a long summary must not cost the alert. Refused is what is not such a payload: throws
 * `validation_failed` with every fault. `at`, Unix milliseconds, is our clock: alerts of a machine whose clock is ahead are taken as of now.
 */
export function translateAlertmanager(payload: unknown, at: number): EventInput[] {
  if (!isJsonObject(payload)) throw validationFailed([{ pointer: '', code: 'invalid_type', detail: 'must be an object' }]);
  const faults: Fault[] = [];
  if (payload['version'] !== '4') faults.push({ pointer: '/version', code: 'unknown_value', detail: 'must be "4"' });
  const alerts = payload['alerts'];
  if (!Array.isArray(alerts)) faults.push(missing(alerts, '/alerts', 'an array'));
  const externalUrl = payload['externalURL'];
  const source = (typeof externalUrl === 'string' && clipLine(externalUrl, 256)) || 'alertmanager';
  const inputs = Array.isArray(alerts)
    ? alerts.map((alert: unknown, index) => translateAlert(alert, { pointer: jsonPointer('alerts', index), source, at, faults }))
    : [];
  if (faults.length > 0) throw validationFailed(faults);
  return inputs;
}

interface AlertContext {
  pointer: string;
  source: string;
  at: number;
  faults: Fault[];
}

function translateAlert(alert: unknown, { pointer, source, at, faults }: AlertContext): EventInput {
  if (!isJsonObject(alert)) {
    faults.push({ pointer, code: 'invalid_type', detail: 'must be an object' });
    return {};
  }
  const { status, fingerprint } = alert;
  if (status !== 'firing' && status !== 'resolved') {
    faults.push({ pointer: `${pointer}/status`, code: 'unknown_value', detail: 'must be one of firing, resolved' });
  }
  // with its prefix it is a dedup key, which may have 512 bytes
  if (typeof fingerprint !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(fingerprint)) {
    faults.push(missing(fingerprint, `${pointer}/fingerprint`, 'a text of 1 to 128 printable characters'));
  }
  const labels = readTexts(alert['labels'], `${pointer}/labels`, faults);
  const annotations = readTexts(alert['annotations'] ?? {}, `${pointer}/annotations`, faults);
  const [timeField, type] = status === 'resolved' ? (['endsAt', 'alert.resolved'] as const) : (['startsAt', 'alert.fired'] as const);
  const occurredAt = readTime(alert[timeField], `${pointer}/${timeField}`, faults);
  const severity = findSeverity((labels.get('severity') ?? '').trim());
  const subject = clipLine(annotations.get('summary') ?? '', 256) || clipLine(labels.get('alertname') ?? '', 256);
  const message = clipProse((annotations.get('description') ?? '').trim(), 8_192);
  return {
    type,
    ...(severity && { severity }),
    ...(subject && { subject }),
    ...(message && { message }),
    source,
    labels: clipLabels(labels),
    links: [
      ...webLink('generator', 'Source of the alert', alert['generatorURL']),
      ...webLink('runbook', 'Runbook', annotations.get('runbook_url')),
    ],
    dedupKey: `am:${String(fingerprint)}`,
    ...(occurredAt !== undefined && { occurredAt: new Date(Math.min(occurredAt, at)).toISOString() }),
  };
}

function readTexts(value: unknown, pointer: string, faults: Fault[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  if (!isJsonObject(value)) {
    faults.push(missing(value, pointer, 'an object'));
    return texts;
  }
  for (const [name, text] of Object.entries(value)) {
    if (typeof text === 'string') texts.set(name, text);
    else faults.push({ pointer: pointer + jsonPointer(name), code: 'invalid_type', detail: 'must be a string' });
  }
  return texts;
}

/** Unix milliseconds; undefined when there is none, which Go writes as the year 1. */
function readTime(value: unknown, pointer: string, faults: Fault[]): number | undefined {
  if (value === undefined) return undefined;
  const ms = typeof value === 'string' && rfc3339.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) faults.push({ pointer, code: 'invalid_format', detail: 'must be an RFC 3339 time' });
  return ms >= 0 ? ms : undefined;
}

function clipLabels(labels: ReadonlyMap<string, string>): Readonly<Record<string, string>> {
  const kept = new Map<string, string>();
  for (const [name, value] of labels) {
    const key = clipLine(name, 64);
    if (kept.size < maxLabels && key !== '' && !kept.has(key)) kept.set(key, clipProse(value, 256));
  }
  return Object.fromEntries(kept);
}

function webLink(rel: string, title: string, href: unknown) {
  const usable = typeof href === 'string' && href.length <= 2_048 && /^https?:\/\/[^\p{Cc}\p{Cs}\s]+$/iu.test(href) && URL.canParse(href);
  return usable ? [{ rel, href, title }] : [];
}

function missing(value: unknown, pointer: string, expected: string): Fault {
  return value === undefined
    ? { pointer, code: 'required', detail: 'is required' }
    : { pointer, code: 'invalid_type', detail: `must be ${expected}` };
}
