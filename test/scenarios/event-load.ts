/** Events that flow all the time, and the account of what became of each. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { fromWireId } from '../../domain/id.ts';
import type { Arrival, HttpReceiver } from '../receivers/http.ts';

/** One POST and how it was answered. */
export interface Posted {
  readonly sentAtMs: number;
  answeredAtMs?: number;
  /** 0: no answer came, the connection broke. */
  status?: number;
  /** Of an accepted one. */
  eventId?: string;
}

export interface EventLoad {
  readonly posts: readonly Posted[];
  /** The ids of what was answered 202. */
  accepted(): string[];
  /** Posts one event outside the rhythm; resolves when it is answered. */
  post(type: string): Promise<Posted>;
  /** Resolves when the last post is answered. */
  stop(): Promise<void>;
}

const answerWithinMs = 20_000;

/** Posts events at that rate to each address in turn until stopped. A refused event is not posted again. */
export function startLoad(options: { apiUrls: () => readonly string[]; apiKey: string; type: string; perSecond: number }): EventLoad {
  const { apiUrls, apiKey, type, perSecond } = options;
  const posts: Posted[] = [];
  const underWay = new Set<Promise<Posted>>();

  const send = async (eventType: string): Promise<Posted> => {
    const number = posts.length;
    const urls = apiUrls();
    const post: Posted = { sentAtMs: Date.now() };
    posts.push(post);
    try {
      const response = await fetch(`${urls[number % urls.length]}/api/v2/events`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ type: eventType, subject: `Event ${number}`, data: { number } }),
        signal: AbortSignal.timeout(answerWithinMs),
      });
      const body = (await response.json()) as { id?: string };
      post.status = response.status;
      if (response.status === 202 && body.id !== undefined) post.eventId = body.id;
    } catch {
      post.status ??= 0;
    }
    post.answeredAtMs = Date.now();
    return post;
  };
  const post = (eventType: string): Promise<Posted> => {
    const sending = send(eventType);
    underWay.add(sending);
    void sending.finally(() => underWay.delete(sending));
    return sending;
  };
  const timer = setInterval(() => void post(type), 1_000 / perSecond);

  return {
    posts,
    accepted: () => posts.flatMap(({ eventId }) => eventId ?? []),
    post,
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
    },
  };
}

interface AttemptFacts {
  readonly number: number;
  readonly errorCode: string | null;
  readonly statusCode: number | null;
  readonly possibleDuplicate: boolean;
}

interface DeliveryFacts {
  readonly id: string;
  readonly eventId: string;
  readonly state: string;
  readonly attempts: readonly AttemptFacts[];
}

/** Every delivery of the database with its attempts. `databaseUrl` is the superuser's. */
export async function readDeliveries(databaseUrl: string): Promise<DeliveryFacts[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<DeliveryFacts>(`
      select d.id, d.event_id as "eventId", d.state, coalesce(a.attempts, '[]') as attempts
        from delivery d left join lateral (
          select json_agg(json_build_object('number', number, 'errorCode', error_code, 'statusCode', status_code,
              'possibleDuplicate', possible_duplicate) order by number) as attempts
            from attempt where org_id = d.org_id and delivery_id = d.id
        ) a on true`);
    return rows;
  } finally {
    await client.end();
  }
}

/** Waits until no delivery is open any more; rejects after the time with what is left. */
export async function whenAllIsDelivered(databaseUrl: () => string, timeoutMs = 60_000): Promise<DeliveryFacts[]> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const deliveries = await readDeliveries(databaseUrl()).catch(() => undefined);
    const open = deliveries?.filter(({ state }) => state !== 'delivered');
    if (deliveries !== undefined && open?.length === 0) return deliveries;
    if (Date.now() > deadline) {
      const left = open?.slice(0, 10).map((delivery) => JSON.stringify(delivery));
      throw new Error(`${open?.length ?? 'All'} deliveries are open after ${timeoutMs / 1_000} s:\n${left?.join('\n')}`);
    }
    await sleep(100);
  }
}

/**
 * What must hold whatever crashed, as a list of what does not:
 * - every accepted event has deliveries, each of them reached the receiver and is `delivered`;
 * - no request came without an attempt that was begun before it;
 * - a delivery that came again after it was answered 2xx, or before its answer, has the attempt concerned marked as possible duplicate.
 */
export function findBrokenPromises(accepted: readonly string[], deliveries: readonly DeliveryFacts[], receiver: HttpReceiver): string[] {
  const arrivals = Map.groupBy(
    receiver.arrivals,
    ({ headers }) => fromWireId('delivery', String(headers['x-webhook-delivery'])) ?? 'unknown',
  );
  const byEvent = Map.groupBy(deliveries, ({ eventId }) => eventId);
  const known = new Map(deliveries.map((delivery) => [delivery.id, delivery]));
  const broken: string[] = [];
  for (const wireId of accepted) {
    const own = byEvent.get(fromWireId('event', wireId) ?? '') ?? [];
    if (own.length === 0) broken.push(`event ${wireId} was accepted and has no delivery`);
  }
  for (const { id, state, attempts } of deliveries) {
    if (state !== 'delivered') broken.push(`delivery ${id} is ${state}`);
    if (attempts.length === 0) broken.push(`delivery ${id} has no attempt`);
    if (!arrivals.has(id)) broken.push(`delivery ${id} never reached the receiver`);
  }
  for (const [id, own] of arrivals) {
    const delivery = known.get(id);
    if (delivery === undefined) broken.push(`the receiver got delivery ${id}, which is not in the database`);
    else broken.push(...own.flatMap((arrival, i) => faultOf(delivery, arrival, i === own.length - 1)));
  }
  return broken;
}

function faultOf({ id, attempts }: DeliveryFacts, { headers }: Arrival, isLast: boolean): string[] {
  const number = Number(headers['x-webhook-attempt']);
  const attempt = attempts.find((one) => one.number === number);
  if (attempt === undefined) return [`attempt ${number} of delivery ${id} was sent and never begun`];
  const wasRefused = attempt.statusCode !== null && attempt.statusCode >= 300;
  if (isLast || wasRefused || attempt.possibleDuplicate) return [];
  return [`delivery ${id} came again after attempt ${number}, which is not marked: ${JSON.stringify(attempts)}`];
}

/** How long after `sinceMs` the first event accepted since then reached `path`. Rejects after the time. */
export async function whenFlowing(
  receiver: HttpReceiver,
  { load, path, sinceMs, timeoutMs = 60_000 }: { load: EventLoad; path: string; sinceMs: number; timeoutMs?: number },
): Promise<number> {
  for (;;) {
    const fresh = new Set(
      load.posts.filter(({ sentAtMs, eventId }) => sentAtMs > sinceMs && eventId !== undefined).map(({ eventId }) => eventId),
    );
    const first = receiver.arrivalsAt(path).find(({ headers }) => fresh.has(String(headers['webhook-id'])));
    if (first !== undefined) return first.atMs - sinceMs;
    if (Date.now() > sinceMs + timeoutMs) throw new Error(`Nothing accepted since was delivered within ${timeoutMs / 1_000} s.`);
    await sleep(20);
  }
}

/** Asks until nothing waits for its place in the log; then the report. */
export async function verifyAuditLog(apiUrl: string, apiKey: string): Promise<{ ok: boolean; treeSize: number; findings: unknown[] }> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const response = await fetch(`${apiUrl}/api/v2/audit-logs/integrity`, { headers: { Authorization: `Bearer ${apiKey}` } });
    const report = (await response.json()) as { ok: boolean; treeSize: number; findings: unknown[]; pending: { entries: number } };
    if (report.pending?.entries === 0) return report;
    if (Date.now() > deadline) throw new Error(`Entries still wait for their place: ${JSON.stringify(report)}`);
    await sleep(200);
  }
}

export async function createWebhook(
  apiUrl: string,
  apiKey: string,
  webhook: { name: string; url: string; eventTypes: string[]; timeoutSeconds?: number },
): Promise<void> {
  const response = await fetch(`${apiUrl}/api/v2/webhooks`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(webhook),
  });
  if (response.status !== 201) throw new Error(`The webhook was not created: ${await response.text()}`);
}
