import { createHmac } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { isLinkGenuine, makeLinkToken, parseLinkToken, type LinkClaim } from '../../domain/link-token.ts';

const key = Buffer.alloc(32, 7);
const id = '0198c0de-0000-7000-8000-00000000000a';
const claim: LinkClaim = {
  organizationId: '0198c0de-0000-7000-8000-000000000001',
  escalationId: '0198c0de-0000-7000-8000-000000000002',
  firing: 3,
  userId: '0198c0de-0000-7000-8000-000000000003',
  action: 'acknowledge',
  expiresAt: 1_800_000_000_000,
};

test('a token is the id of its row and the signature of its claim, nothing else', () => {
  const signed = `tocsin-link-v1|${claim.organizationId}|${claim.escalationId}|3|${claim.userId}|acknowledge|1800000000000`;
  const mac = createHmac('sha256', key).update(signed).digest();
  const token = makeLinkToken(key, id, claim);
  expect(token).toBe(Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), mac]).toString('base64url'));
  expect(token).toHaveLength(64);
  expect(parseLinkToken(token)).toEqual({ id, mac });
});

test('it is genuine for its own claim and key alone', () => {
  const presented = parseLinkToken(makeLinkToken(key, id, claim))!;
  expect(isLinkGenuine(key, claim, presented)).toBe(true);
  expect(isLinkGenuine(Buffer.alloc(32, 8), claim, presented)).toBe(false);
  const others: Array<Partial<LinkClaim>> = [
    { organizationId: claim.userId },
    { escalationId: claim.userId },
    { firing: 4 },
    { userId: claim.escalationId },
    { expiresAt: claim.expiresAt + 1 },
  ];
  for (const other of others) expect(isLinkGenuine(key, { ...claim, ...other }, presented)).toBe(false);
});

test('every changed character makes it another token, or none', () => {
  const token = makeLinkToken(key, id, claim);
  for (let at = 0; at < token.length; at += 1) {
    const forged = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
    const presented = parseLinkToken(forged)!;
    expect(presented.id !== id || !isLinkGenuine(key, claim, presented)).toBe(true);
  }
  for (const text of ['', token.slice(1), `${token}A`, `${token.slice(0, 63)}=`, `${token.slice(0, 63)}+`, `${token}\n`])
    expect(parseLinkToken(text)).toBeUndefined();
});
