import type { Classification } from '../domain/delivery.ts';
import { sha256 } from '../domain/hash.ts';
import type { OutboundRequest, OutboundResponse } from '../domain/outbound.ts';
import type { FinishedAttempt } from '../db/queries/run.ts';
import { captureDetail, captureRequestHeaders, captureResponse } from '../egress/capture.ts';
import { perform } from '../egress/perform.ts';
import type { SentMessage } from './delivery-audit.ts';
import type { Destination, Outgoing } from './destination.ts';
import type { DeliveryDependencies } from './dependencies.ts';

/** The columns of an attempt that sending fills. */
export type AttemptRow = Partial<FinishedAttempt> & Pick<FinishedAttempt, 'durationMs'>;

export interface SentAttempt {
  classification: Classification;
  row: AttemptRow;
  /** For the person who tests; never stored with an attempt. */
  requestBody: Buffer | null;
  message: SentMessage;
}

/** Makes one request and judges the answer. Never throws for what the network, the receiver or the settings do. */
export async function sendAttempt(
  { egress, stopping }: Pick<DeliveryDependencies, 'egress' | 'stopping'>,
  destination: Destination,
  outgoing: Omit<Outgoing, 'nowMs'>,
): Promise<{ slow: boolean; durationMs: number; attempt: SentAttempt }> {
  const built = await destination.build({ ...outgoing, nowMs: Date.now() });
  if ('verdict' in built)
    return {
      slow: false,
      durationMs: 0,
      attempt: judged(
        built.verdict,
        destination,
        { durationMs: 0 },
        { requestBody: null, message: { id: null, reply: null }, repeated: false },
      ),
    };
  const response = await perform(egress, built.request, { deadlineMs: destination.timeoutMs, signal: stopping });
  const classification = destination.classify(response, { nowMs: Date.now(), providerRef: outgoing.providerRef });
  const durationMs = Math.round(response.timings.total);
  const row = { durationMs, ...describeRequest(built.request, destination), ...describeResponse(response, classification, destination) };
  const slow = response.kind === 'fault' && (response.code === 'timeout' || response.code === 'connect_timeout');
  return {
    slow,
    durationMs,
    attempt: judged(classification, destination, row, {
      requestBody: bodyOf(built.request),
      message: describeMessage(built.request, response, destination),
      repeated: response.repeated === true,
    }),
  };
}

function judged(
  classification: Classification,
  { redact }: Destination,
  row: AttemptRow,
  rest: Pick<SentAttempt, 'requestBody' | 'message'> & { repeated: boolean },
): SentAttempt {
  const { requestBody, message, repeated } = rest;
  const { errorCode, detail, retryAfterMs, possibleDuplicate } = classification;
  return {
    classification,
    requestBody,
    message,
    row: {
      ...row,
      errorCode: errorCode ?? null,
      errorDetail: captureDetail(detail, redact),
      retryAfterMs: retryAfterMs ?? null,
      // A repeated request may have been taken twice.
      possibleDuplicate: possibleDuplicate === true || repeated,
      providerRef: classification.providerRef ?? null,
    },
  };
}

function bodyOf(request: OutboundRequest): Buffer | null {
  return request.kind === 'smtp' ? Buffer.from(request.text) : Buffer.from(request.body);
}

/** What the message is called where it went. */
function describeMessage(request: OutboundRequest, response: OutboundResponse, { redact }: Destination): SentMessage {
  const reply = response.kind === 'smtp' ? (response.reply ?? response.failure?.reply) : undefined;
  return {
    id: request.kind === 'smtp' ? request.messageId : null,
    reply: reply === undefined ? null : redact(reply).slice(0, longestReply),
  };
}

const longestReply = 512;

function describeRequest(request: OutboundRequest, { redact }: Destination): Partial<AttemptRow> {
  if (request.kind === 'smtp') return {};
  return { requestHeaders: captureRequestHeaders(request, redact), requestSha256: sha256(request.body), requestBytes: request.body.length };
}

function describeResponse(response: OutboundResponse, { outcome }: Classification, { redact }: Destination): Partial<AttemptRow> {
  const connection = {
    timings: { ...response.timings },
    remoteAddress: response.remoteAddress ?? null,
    tlsVersion: response.tlsVersion ?? null,
  };
  switch (response.kind) {
    case 'fault':
      return connection;
    case 'smtp':
      return {
        ...connection,
        statusCode: response.failure?.status ?? null,
        requestSha256: response.mail === undefined ? null : Buffer.from(response.mail.sha256),
        requestBytes: response.mail?.bytes ?? null,
        responseBody: response.reply === undefined ? null : redact(response.reply),
      };
    case 'http': {
      const { headers, body, encoding, truncated } = captureResponse(response, outcome, redact);
      return {
        ...connection,
        statusCode: response.status,
        responseHeaders: headers,
        responseBody: body === '' ? null : body,
        responseEncoding: body === '' ? null : encoding,
        responseTruncated: truncated,
      };
    }
  }
}
