import { expect, test } from '@jest/globals';
import { describeSecrets, hintSecrets, patchSettings, splitSettings } from '../../channels/settings.ts';

const adapter = { secretFields: ['password', 'headers'] };

test('secrets are split from what may be shown, and come back together', () => {
  const settings = { host: 'a', password: 'p', headers: { A: 'b' } };
  const { open, secrets } = splitSettings(adapter, settings);
  expect(open).toEqual({ host: 'a' });
  expect(secrets).toEqual({ password: 'p', headers: { A: 'b' } });
  expect({ ...open, ...secrets }).toEqual(settings);
});

test('a patch keeps what it does not name and clears what it names null', () => {
  expect(patchSettings({ host: 'a', password: 'p', to: ['x'] }, { to: ['y'], password: null })).toEqual({ host: 'a', to: ['y'] });
  expect(patchSettings({ password: 'p' }, {})).toEqual({ password: 'p' });
});

test('a hint is the last four characters of at least sixteen', () => {
  expect(hintSecrets({ long: '0123456789abcdef', short: '0123456789abcde', headers: { A: 'b' } })).toEqual({
    long: 'cdef',
    short: null,
    headers: null,
  });
});

test('an answer says of each secret whether it is set, and its hint', () => {
  expect(describeSecrets(adapter, { password: 'cdef' })).toEqual({
    password: { set: true, hint: 'cdef' },
    headers: { set: false, hint: null },
  });
});
