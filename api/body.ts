import type { IncomingMessage } from 'node:http';
import { DomainError } from '../domain/errors.ts';

export interface RequestBody {
  readonly text: string;
  /** Lower case, without parameters; empty when there is no body. */
  readonly mediaType: string;
  /** Parsed JSON; undefined when there is no body. */
  readonly json: unknown;
}

/** A body as it came: what signatures are made over. */
export interface RawBody {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

interface BodyRules {
  /** Bytes. */
  readonly limit: number;
  readonly mediaTypes: readonly string[];
}

const decoder = new TextDecoder('utf-8', { fatal: true });
const none: RequestBody = { text: '', mediaType: '', json: undefined };

/**
 * Reads a JSON body of at most `limit` bytes. Throws `payload_too_large`, `unsupported_media_type` or `malformed_json`. Too large
 * a body is not kept: Node discards the rest after the answer, so that the caller gets to read it.
 */
export async function readBody(request: IncomingMessage, rules: BodyRules): Promise<RequestBody> {
  const raw = await readRawBody(request, rules);
  if (raw === undefined) return none;
  const text = decode(raw.bytes);
  return { text, mediaType: raw.mediaType, json: parseJson(text) };
}

/** Reads a body as it is. Throws as {@link readBody} does. @returns undefined when there is none */
export async function readRawBody(request: IncomingMessage, { limit, mediaTypes }: BodyRules): Promise<RawBody | undefined> {
  const declared = request.headers['content-length'];
  if (declared === undefined && request.headers['transfer-encoding'] === undefined) return undefined;
  if (declared !== undefined && Number(declared) > limit) throw tooLarge(limit);
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  const bytes = await readBytes(request, limit);
  if (bytes.length === 0) return undefined;
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw unsupported(`The content encoding ${encoding} is not taken.`);
  if (!mediaTypes.includes(mediaType)) throw unsupported(`The body must be ${mediaTypes.join(' or ')}.`);
  return { bytes, mediaType };
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limit) {
        chunks.length = 0;
        request.removeAllListeners('data').resume();
        reject(tooLarge(limit));
        return;
      }
      chunks.push(chunk);
    });
    request.once('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    request.once('error', (cause) => reject(endedEarly(cause)));
    request.once('close', () => {
      if (!request.complete) reject(endedEarly());
    });
  });
}

function endedEarly(cause?: unknown): DomainError {
  return new DomainError('malformed_request', 'The body ended early.', { cause });
}

function decode(bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new DomainError('malformed_json', 'The body is not UTF-8.', { cause });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new DomainError('malformed_json', `The body is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function tooLarge(limit: number): DomainError {
  return new DomainError('payload_too_large', `The body may have at most ${limit} bytes.`);
}

function unsupported(detail: string): DomainError {
  return new DomainError('unsupported_media_type', detail);
}
