import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import type { AnswerContext, OpenChannel } from '../channels/channel.ts';
import { findAdapter } from '../channels/index.ts';
import { buildWebhookRequest, type SigningKeys, type WebhookEndpoint } from '../channels/webhook-request.ts';
import { channelSecretsPlace, webhookSecretPlace } from '../db/destination-secrets.ts';
import { ChannelEntity, type ChannelRow } from '../db/entities/channel.ts';
import { WebhookEntity, type WebhookRow } from '../db/entities/webhook.ts';
import { readMessage } from '../db/queries/message.ts';
import { readNotice } from '../db/queries/notice.ts';
import { readPage } from '../db/queries/page.ts';
import type { DestinationMark, PageMark } from '../db/queries/run.ts';
import { SecretUnavailableError, type SecretBox } from '../db/secrets.ts';
import { inOrganization } from '../db/tenant.ts';
import type { Classification } from '../domain/delivery.ts';
import { toWireId } from '../domain/id.ts';
import type { MessageView } from '../domain/message.ts';
import type { OutboundRequest, OutboundResponse } from '../domain/outbound.ts';
import { createRedactor, type Redactor } from '../domain/redaction.ts';
import type { RetryPolicy } from '../domain/retry.ts';
import { parseAsymmetricKey, parseSecret } from '../domain/signature.ts';
import { classifyWebhook, webhookRules } from '../domain/webhook.ts';

/** What is sent in one attempt. Ids are UUIDs. */
export interface Outgoing {
  eventId: string;
  eventType: string;
  deliveryId: string;
  attempt: number;
  nowMs: number;
  /** What an earlier attempt learned of the provider's message. */
  providerRef: Readonly<Record<string, unknown>> | undefined;
  /** The rendered body, for webhooks. */
  body: Buffer | null;
  /** `webhook-id` instead of the event's, and the message instead of the event's: for tests. */
  messageId?: string;
  view?: () => Promise<MessageView>;
  page?: PageMark | null;
  noticeId?: string | null;
}

/** A destination as it is at one version, its secrets open. Lives in memory only. */
export interface Destination {
  kind: 'webhook' | 'channel';
  id: string;
  version: number;
  name: string;
  retryPolicy: RetryPolicy;
  timeoutMs: number;
  maxInFlight: number;
  redact: Redactor;
  /** Its secrets did not open: read it again for the next attempt. */
  broken: boolean;
  /** The request of an attempt, or why none can be made. */
  build(outgoing: Outgoing): Promise<{ request: OutboundRequest } | { verdict: Classification }>;
  classify(response: OutboundResponse, context: AnswerContext): Classification;
}

export interface Destinations {
  load(organizationId: string, mark: Pick<DestinationMark, 'id' | 'version'>): Promise<Destination>;
  /** As it is now, switched off or not. A channel with an `address` is the sender to that one address. */
  read(organizationId: string, id: string, address?: string): Promise<Destination>;
  /** Most requests at once; of an unknown destination the default. */
  limitOf(destinationId: string): number;
  /** Just what is needed to settle an attempt that nobody finished. */
  policyOf(
    em: EntityManager,
    organizationId: string,
    destination: { kind: 'webhook' | 'channel'; id: string },
  ): Promise<{ name: string; retryPolicy: RetryPolicy }>;
}

export interface DestinationsOptions {
  orm: MikroORM;
  secrets: SecretBox;
  /** Base of the links in messages. */
  publicUrl: string;
}

const maxCached = 5_000;
const channelTimeoutMs = 15_000;

/** Destinations by id, kept for as long as their version is current: decrypting and parsing once, not once per attempt. */
export function createDestinations({ orm, secrets, publicUrl }: DestinationsOptions): Destinations {
  const cache = new Map<string, Destination>();

  const read = async (organizationId: string, id: string, address?: string): Promise<Destination> =>
    inOrganization(orm, organizationId, async (em) => {
      const webhook = await em.findOne(WebhookEntity, { id });
      if (webhook !== null) return openWebhook(secrets, webhook);
      const channel = await em.findOneOrFail(ChannelEntity, { id });
      const view = async (eventId: string) => inOrganization(orm, organizationId, async (em) => readMessage(em, organizationId, eventId));
      const page = async (eventId: string, mark: PageMark) =>
        inOrganization(orm, organizationId, async (em) =>
          readPage(em, organizationId, { eventId, mark, channelId: id, publicUrl, secrets }),
        );
      const notice = async (noticeId: string) =>
        inOrganization(orm, organizationId, async (em) => readNotice(em, organizationId, noticeId));
      return openChannel(secrets, channel, { view, page, notice, address });
    });

  return {
    read,
    async load(organizationId, { id, version }) {
      const cached = cache.get(id);
      if (cached !== undefined && cached.version >= version) return cached;
      const destination = await read(organizationId, id);
      if (destination.broken) return destination;
      if (cache.size >= maxCached) cache.delete(cache.keys().next().value!);
      cache.set(id, destination);
      return destination;
    },
    limitOf: (destinationId) => cache.get(destinationId)?.maxInFlight ?? webhookRules.maxInFlight.default,
    async policyOf(em, _organizationId, { kind, id }) {
      const row = kind === 'webhook' ? await em.findOne(WebhookEntity, { id }) : await em.findOne(ChannelEntity, { id });
      return row ?? { name: '', retryPolicy: { kind: 'none' } };
    },
  };
}

function openWebhook(box: SecretBox, row: WebhookRow): Destination {
  const { id, version, name, retryPolicy, retryClientErrors, url } = row;
  const common = {
    kind: 'webhook' as const,
    id,
    version,
    name,
    retryPolicy,
    timeoutMs: row.timeoutSeconds * 1_000,
    maxInFlight: row.maxInFlight,
  };
  const opened = orVerdict(() => ({ url, headers: openHeaders(box, row), ...openKeys(box, row) }));
  if ('verdict' in opened) return brokenDestination(common, opened.verdict);
  const endpoint: WebhookEndpoint = opened;
  return {
    ...common,
    broken: false,
    redact: createRedactor([...opened.plain, ...Object.values(opened.headers)]),
    async build({ eventId, messageId = toWireId('event', eventId), eventType, deliveryId, attempt, nowMs, body }) {
      return {
        request: buildWebhookRequest(endpoint, {
          eventType,
          id: messageId,
          deliveryId: toWireId('delivery', deliveryId),
          attempt,
          nowMs,
          body: body!,
        }),
      };
    },
    classify: (response, { nowMs }) => classifyWebhook(response, { retryClientErrors, nowMs }),
  };
}

function openHeaders(box: SecretBox, row: WebhookRow): Record<string, string> {
  return row.headers ? (JSON.parse(box.open(row.headers, webhookSecretPlace(row, 'headers'))) as Record<string, string>) : {};
}

function openKeys(box: SecretBox, row: WebhookRow): { keys: SigningKeys | null; plain: string[] } {
  if (row.secret === null || row.secret === undefined) return { keys: null, plain: [] };
  const place = webhookSecretPlace(row, 'secret');
  const current = box.open(row.secret, place);
  const previous = row.previousSecrets.map(({ sealed, expiresAt }) => ({
    secret: box.open(Buffer.from(sealed, 'base64'), place),
    expiresAtMs: Date.parse(expiresAt),
  }));
  const asymmetric = row.signingKey ? parseAsymmetricKey(box.open(row.signingKey, webhookSecretPlace(row, 'signingKey'))) : undefined;
  return {
    keys: {
      current: signingKey(current),
      previous: previous.map(({ secret, expiresAtMs }) => ({ key: signingKey(secret), expiresAtMs })),
      ...(row.signatureSchemes.includes('v1a') ? { asymmetric } : {}),
    },
    plain: [current, ...previous.map(({ secret }) => secret)],
  };
}

function signingKey(secret: string) {
  const parsed = parseSecret(secret);
  // It was checked when it was saved.
  if ('fault' in parsed) throw new SecretUnavailableError(`The stored secret is not one: ${parsed.fault}.`);
  return parsed.key;
}

interface ChannelUse {
  /** What it says of an event. */
  view: (eventId: string) => Promise<MessageView>;
  page: (eventId: string, mark: PageMark) => Promise<{ view: MessageView; address: string | null }>;
  notice: (noticeId: string) => Promise<MessageView>;
  /** Instead of those that its settings name. */
  address: string | undefined;
}

function openChannel(box: SecretBox, row: ChannelRow, { view: eventView, page: readPageOf, notice, address }: ChannelUse): Destination {
  const { id, version, name, retryPolicy } = row;
  const common = {
    kind: 'channel' as const,
    id,
    version,
    name,
    retryPolicy,
    timeoutMs: channelTimeoutMs,
    maxInFlight: webhookRules.maxInFlight.default,
  };
  const open = (to: string | undefined) =>
    orVerdict((): OpenChannel | { verdict: Classification } =>
      findAdapter(row.type).open({ ...row.settings, ...openSecrets(box, row) }, to),
    );
  const opened = open(address);
  if ('verdict' in opened) return brokenDestination(common, opened.verdict);
  return {
    ...common,
    broken: false,
    redact: createRedactor(opened.secrets),
    async build({ eventId, deliveryId, attempt, nowMs, providerRef, page, noticeId, view }) {
      const context = { deliveryId, attempt, nowMs, providerRef };
      try {
        if (page === undefined || page === null) {
          const told = view ?? (async () => (noticeId ? notice(noticeId) : eventView(eventId)));
          return opened.render(await told(), context);
        }
        const told = await readPageOf(eventId, page);
        const personal = told.address === null ? opened : open(told.address);
        return 'verdict' in personal ? personal : personal.render(told.view, context);
      } catch (error) {
        return { verdict: notRendered(error) };
      }
    },
    classify: (response, context) => opened.classify(response, context),
  };
}

function openSecrets(box: SecretBox, row: ChannelRow): Record<string, unknown> {
  return row.secrets ? (JSON.parse(box.open(row.secrets, channelSecretsPlace(row))) as Record<string, unknown>) : {};
}

function brokenDestination(common: Omit<Destination, 'redact' | 'broken' | 'build' | 'classify'>, verdict: Classification): Destination {
  return { ...common, broken: true, redact: (text) => text, build: async () => ({ verdict }), classify: () => verdict };
}

/**
 * What a message says could not be read, or put into its form: thrown instead, it would keep the attempt open until somebody gives it up, and a
 * page must not wait for that. It is tried again at once; what fails for good has the next tier paged.
 */
function notRendered(error: unknown): Classification {
  const detail = error instanceof Error ? error.message : String(error);
  return { outcome: 'retryable', errorCode: 'render_failed', detail, sparesSchedule: true };
}

/** A secret that does not open is a reason to try again: the operator may restore the key. */
function orVerdict<T extends object>(open: () => T): T | { verdict: Classification } {
  try {
    return open();
  } catch (error) {
    if (error instanceof SecretUnavailableError)
      return { verdict: { outcome: 'retryable', errorCode: 'secret_unavailable', detail: error.message } };
    throw error;
  }
}
