import { lookup } from 'node:dns/promises';
import { isNativeError } from 'node:util/types';

/** All addresses of a host name; rejects as node:dns does. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export type Resolution = { readonly addresses: readonly string[] } | { readonly fault: string };

export interface Resolver {
  resolve(host: string): Promise<Resolution>;
}

export interface ResolverOptions {
  readonly lookup?: Lookup | undefined;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** How long one caller waits, in milliseconds. */
  readonly budgetMs?: number;
}

const foundTtlMs = 30_000;
const failedTtlMs = 5_000;
/** A name is distrusted this long after a lookup of it took longer than the budget. */
const hungMs = 60_000;
const maxPendingHung = 8;
const maxRemembered = 10_000;

const systemLookup: Lookup = async (host) => (await lookup(host, { all: true, verbatim: true })).map(({ address }) => address);

/**
 * Host names to addresses, with the care that `getaddrinfo` needs: it runs on libuv's few threads and cannot be cancelled, so one name
 * is looked up once at a time, answers are kept for a short while, and names whose servers hang get few of the threads.
 */
export function createResolver({ lookup: find = systemLookup, now, budgetMs = 3_000 }: ResolverOptions): Resolver {
  const pending = new Map<string, Promise<Resolution>>();
  const remembered = new Map<string, { resolution: Resolution; untilMs: number }>();
  const distrusted = new Map<string, number>();
  let pendingHung = 0;

  function start(host: string): Promise<Resolution> {
    const atMs = now();
    const wasHung = (distrusted.get(host) ?? 0) > atMs;
    if (wasHung && pendingHung >= maxPendingHung) return Promise.resolve({ fault: 'too many lookups of names that do not answer' });
    let counted = wasHung;
    if (counted) pendingHung += 1;
    const hangTimer = setTimeout(() => {
      remember(distrusted, host, now() + hungMs);
      if (!counted) pendingHung += 1;
      counted = true;
    }, budgetMs);
    hangTimer.unref();

    const lookup = find(host).then(
      (addresses): Resolution => (addresses.length === 0 ? { fault: 'ENODATA' } : { addresses }),
      (error: unknown): Resolution => ({ fault: dnsCode(error) }),
    );
    const settled = lookup.then((resolution) => {
      clearTimeout(hangTimer);
      if (counted) pendingHung -= 1;
      pending.delete(host);
      remember(remembered, host, { resolution, untilMs: now() + ('fault' in resolution ? failedTtlMs : foundTtlMs) });
      return resolution;
    });
    pending.set(host, settled);
    return settled;
  }

  return {
    resolve(host) {
      const known = remembered.get(host);
      if (known !== undefined && known.untilMs > now()) return Promise.resolve(known.resolution);
      return withBudget(pending.get(host) ?? start(host), budgetMs);
    },
  };
}

function withBudget(resolution: Promise<Resolution>, budgetMs: number): Promise<Resolution> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ fault: `no answer within ${budgetMs} ms` }), budgetMs);
    // whoever waits has a deadline of its own
    timer.unref();
    void resolution.then((found) => {
      clearTimeout(timer);
      resolve(found);
    });
  });
}

/** Keeps the newest entries only, so that a stream of new names cannot fill the memory. */
function remember<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= maxRemembered) return;
  const oldest = map.keys().next();
  if (oldest.done !== true) map.delete(oldest.value);
}

function dnsCode(error: unknown): string {
  if (!isNativeError(error)) return 'lookup failed';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
