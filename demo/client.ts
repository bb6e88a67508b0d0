import { DemoFault } from './fault.ts';

export interface Client {
  get<T>(path: string): Promise<T>;
  /** The answer as it came, byte for byte. */
  getText(path: string): Promise<string>;
  /** Any answer but `status` ends the demo with what the API said. */
  post<T>(path: string, body: unknown, status: number): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
}

/** Speaks to the public API as any producer would: HTTP and an API key. Paths begin below `/api/v2`. */
export function createClient(apiUrl: string, apiKey: string): Client {
  const call = async <T>(method: string, path: string, body: unknown, status: number): Promise<T> =>
    JSON.parse(await send(method, path, body, status)) as T;
  const send = async (method: string, path: string, body: unknown, status: number): Promise<string> => {
    const response = await fetch(`${apiUrl}/api/v2${path}`, {
      method,
      headers: { Authorization: `Bearer ${apiKey}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status !== status) throw new DemoFault(`${method} ${path} answered ${response.status} instead of ${status}: ${text}`);
    return text;
  };
  return {
    get: (path) => call('GET', path, undefined, 200),
    getText: (path) => send('GET', path, undefined, 200),
    post: (path, body, status) => call('POST', path, body, status),
    patch: (path, body) => call('PATCH', path, body, 200),
  };
}

/** What the demo reads of the API's answers; `api/openapi.json` has all of it. */
export interface Decision {
  target: { kind: string; id: string | null; channelType: string | null };
  verdict: string;
  reason: string;
  /** In the trace only. */
  winner?: string | null;
  losers?: string[];
}

export interface EventTrace {
  id: string;
  type: string;
  severity: string;
  subject: string;
  acceptedAt: string;
  decisions: Decision[];
  deliveries: Array<{ id: string; destinationId: string }>;
  auditEntries: Array<{ id: string; action: string; status: string; recordedAt: string }>;
}

export interface Attempt {
  number: number;
  trigger: string;
  startedAt: string;
  durationMs: number | null;
  outcome: string | null;
  statusCode: number | null;
  errorCode: string | null;
  nextDelayMs: number | null;
}

export interface Delivery {
  id: string;
  eventType: string;
  status: string;
  destination: { id: string; name: string | null; channelType: string };
  workflowId: string | null;
  attempts: Attempt[];
}

export interface AuditEntryDetail {
  id: string;
  action: string;
  index: number | null;
  canonical: string;
}

export interface Integrity {
  ok: boolean;
  treeSize: number;
  rootHash: string;
  pending: { entries: number };
  findings: Array<{ code: string; index?: number; entryId?: string; expected?: string; got?: string }>;
}

export interface Escalation {
  id: string;
  state: string;
  round: number;
  tier: number;
  dueAt: string | null;
  why: string | null;
}

export interface TimelineEntry {
  at: string;
  kind: string;
  round: number;
  tier: number;
  reason: string | null;
  proof: string | null;
}
