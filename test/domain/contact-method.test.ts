import { expect, test } from '@jest/globals';
import { codeWaitMs, contactRules, digestIntervalsMs, hashContactCode, isCodeLive } from '../../domain/contact-method.ts';

const { code, sending } = contactRules;
const at = Date.UTC(2026, 0, 1);

test('a code lives from when it is made until its time is over or it was guessed at too often', () => {
  const live = { expiresAt: at + 1, tries: code.tries - 1, codeHash: Buffer.alloc(32) };
  expect(isCodeLive(live, at)).toBe(true);
  expect(isCodeLive({ ...live, expiresAt: at }, at)).toBe(false);
  expect(isCodeLive({ ...live, tries: code.tries }, at)).toBe(false);
  expect(isCodeLive({ ...live, codeHash: null }, at)).toBe(false);
});

test('the hash of a code is of its row: one row says nothing about another with the same code', () => {
  expect(hashContactCode('a', '123456')).toEqual(hashContactCode('a', '123456'));
  expect(hashContactCode('a', '123456')).not.toEqual(hashContactCode('b', '123456'));
});

test('the sixth code of an hour waits until the first is an hour old', () => {
  const sent = Array.from({ length: sending.most }, (_, i) => at + i * 1_000);
  expect(codeWaitMs(sent.slice(1), at + 5_000)).toBe(0);
  expect(codeWaitMs(sent, at + 5_000)).toBe(sending.windowMs - 5_000);
  expect(codeWaitMs(sent.toReversed(), at + 5_000)).toBe(sending.windowMs - 5_000);
  expect(codeWaitMs(sent, at + sending.windowMs)).toBe(0);
});

test('digests never drift through the day', () => {
  for (const interval of digestIntervalsMs) expect(86_400_000 % interval).toBe(0);
});
