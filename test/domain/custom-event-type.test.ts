import { describe, expect, test } from '@jest/globals';
import {
  builtInTypes,
  type CustomEventType,
  eventTypesOf,
  isReserved,
  takenNames,
  typeNameFaults,
} from '../../domain/custom-event-type.ts';
import { eventTypes } from '../../domain/event-type.ts';

const charge: CustomEventType = {
  type: 'payment.charge_failed',
  category: 'custom',
  feed: 'alert',
  description: 'A charge failed',
  defaultSeverity: 'high',
  effect: 'open',
  family: 'payment',
  aliases: ['payment.declined'],
};
const faultsOf = (names: Partial<CustomEventType>) =>
  typeNameFaults({ ...charge, ...names }).map(({ pointer, code }) => `${pointer} ${code}`);

describe('the types of an organization', () => {
  test('without any of its own are the built-in ones, and the same object for all', () => {
    expect(eventTypesOf([], {})).toBe(builtInTypes);
    expect(builtInTypes.find('deployment.fail')?.type).toBe('deployment.failed');
    expect(builtInTypes.find('payment.declined')).toBeUndefined();
  });

  test('are found by name and alias beside the built-in ones', () => {
    const types = eventTypesOf([charge], {});
    for (const spelling of [charge.type, 'payment.declined']) expect(types.known(spelling)).toMatchObject({ ...charge, own: false });
    expect(types.known('deployment.fail')?.type).toBe('deployment.failed');
    expect(types.find('payment.refunded')).toBeUndefined();
  });

  test('that takes unknown ones merely occur, unless the name is Tocsin’s or none', () => {
    const types = eventTypesOf([charge], { acceptsUnknown: true });
    expect(types.find('payment.refunded_late')).toMatchObject({
      type: 'payment.refunded_late',
      category: 'custom',
      effect: 'occur',
      defaultSeverity: 'info',
      feed: 'system',
      description: 'Payment refunded late',
    });
    expect(types.find('payment.declined')).toMatchObject({ type: charge.type, effect: 'open' });
    for (const spelling of ['escalation.exploded', 'delivery.odd', 'Payment.x', 'payment', 'a.b.c.d.e', `a.${'b'.repeat(99)}`])
      expect(types.find(spelling)).toBeUndefined();
    expect(types.known('payment.refunded_late')).toBeUndefined();
  });
});

describe('a name', () => {
  test('must be words with dots, and not begin with a noun of Tocsin', () => {
    expect(faultsOf({})).toEqual([]);
    expect(faultsOf({ type: 'payment', family: 'Pay', aliases: ['a..b', 'a.b'] })).toEqual([
      '/type invalid_format',
      '/family invalid_format',
      '/aliases/0 invalid_format',
    ]);
    expect(faultsOf({ type: 'webhook.melted', aliases: ['escalation.tripped'] })).toEqual([
      '/type reserved_event_type',
      '/aliases/0 reserved_event_type',
    ]);
    expect(faultsOf({ aliases: [charge.type, 'payment.a', 'payment.a'] })).toEqual([
      '/aliases/0 duplicate_value',
      '/aliases/2 duplicate_value',
    ]);
    for (const { type, own } of eventTypes) expect(isReserved(type)).toBe(own);
  });

  test('that means something already is taken, alias or not', () => {
    const other = { type: 'payment.lost', aliases: ['payment.gone'] };
    const taken = takenNames({ type: 'deployment.fail', aliases: ['payment.lost', 'payment.free', 'payment.gone', 'drift.detect'] }, [
      other,
    ]);
    expect(taken.map(({ pointer, code }) => `${pointer} ${code}`)).toEqual([
      '/type duplicate_type',
      '/aliases/0 duplicate_type',
      '/aliases/2 duplicate_type',
      '/aliases/3 duplicate_type',
    ]);
  });
});
