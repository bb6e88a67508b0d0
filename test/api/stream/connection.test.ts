import { describe, expect, test } from '@jest/globals';
import { type ConnectionInput, type ConnectionState, limits, openConnection, stepConnection } from '../../../api/stream/connection.ts';
import { toWireId } from '../../../domain/id.ts';

/** Runs inputs at their times; what came of each. */
function run(start: ConnectionState, inputs: ReadonlyArray<readonly [at: number, input: ConnectionInput]>) {
  let state = start;
  const effects = inputs.map(([at, input]) => {
    const step = stepConnection(state, input, at);
    state = step.state;
    return step.effects;
  });
  return { state, effects };
}

const say = (message: unknown): ConnectionInput => {
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  return { kind: 'message', text, bytes: Buffer.byteLength(text) };
};
const tick: ConnectionInput = { kind: 'tick' };
const opened = run(openConnection(0, true), [[0, { kind: 'admitted' }]]).state;
const id = toWireId('notification', '0198c0de-0000-7000-8000-000000000001');

describe('before it is somebody’s', () => {
  test('it has five seconds to say whose it is', () => {
    const { effects } = run(openConnection(0, false), [
      [4_999, tick],
      [5_000, tick],
      [5_001, tick],
    ]);
    expect(effects).toEqual([[], [{ kind: 'close', reason: 'authentication' }], []]);
  });

  test('its first message has to be its credential, and only one is taken', () => {
    expect(run(openConnection(0, false), [[1, say({ t: 'auth', token: 'x' })]]).effects).toEqual([[{ kind: 'authenticate', token: 'x' }]]);
    const refused = [[{ kind: 'close', reason: 'authentication' }]];
    for (const message of [{ t: 'pong', n: 1 }, 'x', { t: 'read', ids: [id] }])
      expect(run(openConnection(0, false), [[1, say(message)]]).effects).toEqual(refused);
    expect(run(openConnection(0, true), [[1, say({ t: 'auth', token: 'x' })]]).effects).toEqual(refused);
    expect(run(openConnection(0, true), [[1, { kind: 'refused' }]]).effects).toEqual(refused);
  });
});

describe('when it is open', () => {
  test('it is pinged every 30 s, and whether it may stay is asked', () => {
    const { effects } = run(opened, [
      [29_999, tick],
      [30_000, tick],
      [30_001, tick],
      [59_999, say({ t: 'pong', n: 1 })],
      [60_000, tick],
    ]);
    const ping = (n: number) => [{ kind: 'send', message: { t: 'ping', n } }, { kind: 'recheck' }];
    expect(effects).toEqual([[], ping(1), [], [], ping(2)]);
  });

  test('it is closed after 75 s without a pong; a pong to no ping does not count', () => {
    const answered = run(opened, [
      [30_000, tick],
      [40_000, say({ t: 'pong', n: 1 })],
    ]).state;
    expect(run(answered, [[114_999, tick]]).effects[0]).not.toContainEqual({ kind: 'close', reason: 'silent' });
    expect(run(answered, [[115_000, tick]]).effects).toEqual([[{ kind: 'close', reason: 'silent' }]]);
    expect(
      run(opened, [
        [70_000, say({ t: 'pong', n: 7 })],
        [75_000, tick],
      ]).effects[1],
    ).toEqual([{ kind: 'close', reason: 'silent' }]);
  });

  test('it may say 4 KB at a time, and 20 messages within 10 s', () => {
    const padded = (bytes: number) => say(`{"t":"pong","n":1}`.padEnd(bytes));
    expect(
      run(opened, [
        [1, padded(limits.messageBytes)],
        [2, padded(limits.messageBytes + 1)],
      ]).effects,
    ).toEqual([[], [{ kind: 'close', reason: 'tooLarge' }]]);
    const twenty = Array.from({ length: 20 }, () => [1_000, say({ t: 'pong', n: 1 })] as const);
    expect(run(opened, [...twenty, [10_999, say({ t: 'pong', n: 1 })]]).effects.at(-1)).toEqual([{ kind: 'close', reason: 'tooMany' }]);
    expect(run(opened, [...twenty, [11_000, say({ t: 'pong', n: 1 })]]).effects.flat()).toEqual([]);
  });

  test('what it says wrongly is answered, with its own number where there is one', () => {
    const wrong = (req?: unknown) => [
      { kind: 'send', message: { t: 'error', code: 'invalid_message', ...(req === undefined ? {} : { req }) } },
    ];
    expect(
      run(opened, [
        [1, say('{')],
        [2, say({ t: 'read', ids: ['x'], req: 7 })],
        [3, say({ t: 'read_all', req: 'a' })],
        [4, say({ t: 'auth', token: 'x' })],
      ]).effects,
    ).toEqual([wrong(), wrong(7), wrong('a'), wrong()]);
  });

  test('what it asks for is carried out with ids as columns hold them', () => {
    const [effects] = run(opened, [[1, say({ t: 'read', ids: [id], req: 1 })]]).effects;
    expect(effects).toEqual([{ kind: 'carry_out', command: { t: 'read', ids: ['0198c0de-0000-7000-8000-000000000001'], req: 1 } }]);
  });
});
