import type { Egress } from '../egress/guard.ts';
import type { Logger } from '../log.ts';
import type { WatchdogOptions } from './watchdog.ts';

const deadlineMs = 10_000;
const everyMs = 60_000;

/** Each minute asks an address that expects to be asked: a dead man's switch outside Tocsin. What it answers does not matter. */
export function createHeartbeat({
  egress,
  url,
  log,
}: {
  egress: Pick<Egress, 'sendHttp'>;
  url: string;
  log: Logger;
}): NonNullable<WatchdogOptions['heartbeat']> {
  return {
    everyMs,
    async send() {
      const request = {
        kind: 'http',
        method: 'POST',
        url,
        headers: {},
        privateHeaders: new Set<string>(),
        body: new Uint8Array(),
        bodyDecides: false,
      } as const;
      const answer = await egress.sendHttp(request, { deadlineMs });
      // The address may hold a secret, so it is not logged.
      if (answer.kind === 'fault') log.warn('watchdog.heartbeat', { errorCode: answer.code });
    },
  };
}
