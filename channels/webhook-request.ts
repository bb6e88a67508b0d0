import { isReservedHeader } from '../domain/header.ts';
import type { HttpRequest } from '../domain/outbound.ts';
import { signPlain, signStandard, type AsymmetricKey, type SigningKey } from '../domain/signature.ts';
import { liveSecrets } from '../domain/webhook.ts';
import { userAgent } from './user-agent.ts';

/** The keys of a destination. Which old ones still sign is decided when signing. */
export interface SigningKeys {
  readonly current: SigningKey;
  /** Newest first. */
  readonly previous: ReadonlyArray<{ readonly key: SigningKey; readonly expiresAtMs: number }>;
  /** Signs v1a as well. */
  readonly asymmetric?: AsymmetricKey | undefined;
}

export interface WebhookEndpoint {
  readonly url: string;
  /** The organization's own headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** null: unsigned. */
  readonly keys: SigningKeys | null;
}

/** Ids in their wire form. */
export interface WebhookMessage {
  readonly eventType: string;
  /** `webhook-id`: the event's id, so that receivers can drop what they have; for channels the delivery's. */
  readonly id: string;
  readonly deliveryId: string;
  /** From 1. */
  readonly attempt: number;
  /** When this attempt is made. */
  readonly nowMs: number;
  /** Sent and signed as it is. */
  readonly body: Uint8Array;
}

/**
 * The signed request of one attempt. Attempts of a delivery differ in timestamp, signature and attempt number only; nothing of the
 * signature is stored.
 */
export function buildWebhookRequest({ url, headers: configured, keys }: WebhookEndpoint, message: WebhookMessage): HttpRequest {
  const timestampSeconds = Math.floor(message.nowMs / 1_000);
  const headers: Record<string, string> = {};
  const privateHeaders = new Set<string>();
  // refused when saved as well; whatever is stored, ours are the ones that are sent
  for (const [name, value] of Object.entries(configured)) {
    if (isReservedHeader(name)) continue;
    headers[name] = value;
    privateHeaders.add(name.toLowerCase());
  }
  headers['Content-Type'] = 'application/json';
  headers['User-Agent'] = userAgent;
  headers['Accept-Encoding'] = 'identity';
  headers['X-Webhook-Event'] = message.eventType;
  if (keys !== null) {
    const previous = liveSecrets(keys.previous, message.nowMs);
    headers['X-Webhook-Signature'] = signPlain(keys.current, message.body);
    if (previous[0] !== undefined) headers['X-Webhook-Signature-Previous'] = signPlain(previous[0].key, message.body);
    headers['webhook-signature'] = signStandard(
      [keys.current, ...previous.map(({ key }) => key)],
      { id: message.id, timestampSeconds, body: message.body },
      keys.asymmetric,
    );
  }
  headers['X-Webhook-Delivery'] = message.deliveryId;
  headers['X-Webhook-Attempt'] = String(message.attempt);
  headers['webhook-id'] = message.id;
  headers['webhook-timestamp'] = String(timestampSeconds);
  return { kind: 'http', method: 'POST', url, headers, privateHeaders, body: message.body, bodyDecides: false };
}
