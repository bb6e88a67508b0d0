/** Posts events from a process of its own, so that its work is not counted as Tocsin's. Told what to do, and answers, by IPC. */
import { Pool } from 'undici';

export interface PublishOrder {
  url: string;
  apiKey: string;
  /** Posts under way at once; each sends the next when it has its answer. Ignored with `perSecond`. */
  publishers: number;
  /** Open loop: posts are made at this rate, whatever the answers do. */
  perSecond?: number;
  seconds: number;
  /** Events per post; more than one goes to `/events/batch`. */
  batch: number;
  /** Each post has an Idempotency-Key. */
  keyed?: boolean;
  /** Instead of one deployment that failed: alerts about so many problems in turn, whose keys begin so. */
  problems?: { count: number; prefix: string };
}

export interface Published {
  accepted: number;
  refused: number;
  seconds: number;
  /** Milliseconds from the request to the 202. */
  p50Ms: number;
  p99Ms: number;
}

const bodyBytes = 512;

process.on('message', (order: PublishOrder) => {
  void publish(order).then((published) => process.send!(published));
});

async function publish({ url, apiKey, publishers, perSecond, seconds, batch, keyed = false, problems }: PublishOrder): Promise<Published> {
  const pool = new Pool(url, { connections: perSecond === undefined ? publishers : 64, pipelining: 1 });
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const path = batch === 1 ? '/api/v2/events' : '/api/v2/events/batch';
  const latencies: number[] = [];
  let accepted = 0;
  let refused = 0;
  const post = async (): Promise<void> => {
    const startedAt = performance.now();
    const text = problems === undefined ? eventText : alertText(problems);
    const body = batch === 1 ? text() : `{"events":[${Array.from({ length: batch }, text).join(',')}]}`;
    const answer = await pool.request({
      method: 'POST',
      path,
      headers: keyed ? { ...headers, 'idempotency-key': crypto.randomUUID() } : headers,
      body,
    });
    await answer.body.dump();
    latencies.push(performance.now() - startedAt);
    if (answer.statusCode === 202) accepted += batch;
    else refused += batch;
  };

  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  if (perSecond === undefined) {
    const publisher = async (): Promise<void> => {
      while (performance.now() < endsAt) await post();
    };
    await Promise.all(Array.from({ length: publishers }, publisher));
  } else {
    const posts: Array<Promise<void>> = [];
    for (let n = 0; n < perSecond * seconds; n += 1) {
      const wait = startedAt + (n * 1_000) / perSecond - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      posts.push(post());
    }
    await Promise.all(posts);
  }
  const took = (performance.now() - startedAt) / 1_000;
  await pool.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return { accepted, refused, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** About 512 bytes, with the instant of posting for the receiver to compare. */
function eventText(): string {
  const postedAt = (performance.timeOrigin + performance.now()).toFixed(3);
  const text = `{"type":"deployment.failed","severity":"high","subject":"Deployment of checkout failed","data":{"postedAt":${postedAt},"pad":"`;
  return `${text}${'x'.repeat(bodyBytes - text.length - 3)}"}}`;
}

let alerts = 0;

function alertText({ count, prefix }: NonNullable<PublishOrder['problems']>): () => string {
  return () => `{"type":"alert.fired","severity":"high","subject":"Replication lags","dedupKey":"${prefix} ${(alerts += 1) % count}"}`;
}
