/**
 * How a group of disclosures is stored beside its entry: one format byte, then the disclosures as a canonical JSON array. That text is
 * what an encrypted envelope will hold too, under a data key version of 1 or more; version 0 says that it stands as it is.
 */
import { canonicalize } from './canonical.ts';

/** Version of the data key for what is not encrypted. */
export const unencrypted = 0;

// 0x01, raw deflate, is reserved: it needs a compressor, which this layer has not.
const rawFormat = 0x00;

export function encodeEnvelope(disclosures: readonly string[]): Buffer {
  const text = canonicalize(disclosures);
  const envelope = Buffer.allocUnsafe(Buffer.byteLength(text) + 1);
  envelope[0] = rawFormat;
  envelope.write(text, 1, 'utf8');
  return envelope;
}

/** The disclosures of an envelope; undefined when it is damaged or of a later format. */
export function decodeEnvelope(envelope: Uint8Array): string[] | undefined {
  if (envelope[0] !== rawFormat) return undefined;
  try {
    const disclosures: unknown = JSON.parse(
      Buffer.from(envelope.buffer, envelope.byteOffset + 1, envelope.byteLength - 1).toString('utf8'),
    );
    return Array.isArray(disclosures) && disclosures.every((item) => typeof item === 'string') ? disclosures : undefined;
  } catch {
    return undefined;
  }
}
