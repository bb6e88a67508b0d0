import type { HttpRequest } from '../../domain/outbound.ts';
import { createEgress, type Egress, type EgressOptions } from '../../egress/guard.ts';
import { createLogger } from '../../log.ts';

/** An egress whose log lines can be read; without `allow` it lets nothing on loopback pass. */
export function openEgress(options: Partial<EgressOptions> = {}): { egress: Egress; lines: string[] } {
  const lines: string[] = [];
  const log = createLogger({ process: 'test', write: (line) => lines.push(line) });
  const egress = createEgress({ allow: [], deniedTargets: [], requireHttps: false, now: Date.now, log, ...options });
  return { egress, lines };
}

export function post(url: string, parts: Partial<HttpRequest> = {}): HttpRequest {
  return {
    kind: 'http',
    method: 'POST',
    url,
    headers: { 'Content-Type': 'application/json' },
    privateHeaders: new Set(),
    body: Buffer.from('{}'),
    bodyDecides: false,
    ...parts,
  };
}
