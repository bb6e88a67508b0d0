import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromWireId, idTimeMs, newId, parseWireId, toWireId } from '../../domain/id.ts';

describe('an id', () => {
  test('is a UUIDv7 of its instant, and sorts by it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 47 }), (nowMs) => {
        const id = newId(nowMs);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(idTimeMs(id)).toBe(nowMs);
        expect(id < newId(nowMs + 1)).toBe(true);
      }),
    );
  });

  test('is never given twice', () => {
    expect(new Set(Array.from({ length: 20_000 }, () => newId(1_700_000_000_000))).size).toBe(20_000);
  });
});

describe('a wire id', () => {
  // https://github.com/jetify-com/typeid/blob/main/spec/valid.yml
  test.each([
    ['00000000000000000000000000', '00000000-0000-0000-0000-000000000000'],
    ['00000000000000000000000001', '00000000-0000-0000-0000-000000000001'],
    ['0000000000000000000000000g', '00000000-0000-0000-0000-000000000010'],
    ['7zzzzzzzzzzzzzzzzzzzzzzzzz', 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
    ['0123456789abcdefghjkmnpqrs', '0110c853-1d09-52d8-d73e-1194e95b5f19'],
    ['01h455vb4pex5vsknk084sn02q', '01890a5d-ac96-774b-bcce-b302099a8057'],
  ])('%s is %s, as the TypeID specification says', (suffix, uuid) => {
    expect(toWireId('event', uuid)).toBe(`evt_${suffix}`);
    expect(fromWireId('event', `evt_${suffix}`)).toBe(uuid);
  });

  test('gives back what it was made of, and only for its kind', () => {
    fc.assert(
      fc.property(fc.uuid(), (uuid) => {
        const text = toWireId('webhook', uuid);
        expect(fromWireId('webhook', text)).toBe(uuid);
        expect(fromWireId('channel', text)).toBeUndefined();
        expect(parseWireId(text)).toEqual({ kind: 'webhook', uuid });
      }),
    );
  });

  test.each([
    'evt_',
    'evt_01h455vb4pex5vsknk084sn02',
    'evt_01h455vb4pex5vsknk084sn02qq',
    'EVT_01h455vb4pex5vsknk084sn02q',
    'evt_01H455VB4PEX5VSKNK084SN02Q',
    'evt_8zzzzzzzzzzzzzzzzzzzzzzzzz',
    'evt_01h455vb4pex5vsknk084sn0iq',
    '01890a5d-ac96-774b-bcce-b302099a8057',
    'evt-01h455vb4pex5vsknk084sn02q',
    '',
  ])('%j is none', (text) => {
    expect(fromWireId('event', text)).toBeUndefined();
    expect(parseWireId(text)).toBeUndefined();
  });
});
