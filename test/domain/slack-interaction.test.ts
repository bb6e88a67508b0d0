import { describe, expect, test } from '@jest/globals';
import { newId, toWireId } from '../../domain/id.ts';
import {
  isSignedBySlack,
  readSlackPress,
  slackBlockId,
  slackCommand,
  type SlackPress,
  slackRequestId,
} from '../../domain/slack-interaction.ts';

/** The worked example of Slack's documentation. */
const example = {
  secret: '8f742231b10e8888abcd99yyyzzz85a5',
  timestamp: '1531420618',
  body: Buffer.from(
    'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
  ),
  signature: 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
};
const signedAtMs = Number(example.timestamp) * 1_000;

describe('a signature', () => {
  const { secret, body, timestamp, signature } = example;

  test('of the documentation is taken for 300 seconds, either way', () => {
    for (const ageMs of [0, 300_000, 300_999, -300_000])
      expect(isSignedBySlack(secret, body, { timestamp, signature }, signedAtMs + ageMs)).toBe(true);
    for (const ageMs of [301_000, -301_000])
      expect(isSignedBySlack(secret, body, { timestamp, signature }, signedAtMs + ageMs)).toBe(false);
  });

  test('that is missing, malformed or of something else is not', () => {
    const zeros = `v0=${'0'.repeat(64)}`;
    const others = [undefined, '', zeros, signature.slice(3), signature.toUpperCase(), `v1${signature.slice(2)}`, `${signature}0`];
    for (const other of others) expect(isSignedBySlack(secret, body, { timestamp, signature: other }, signedAtMs)).toBe(false);
    for (const other of [undefined, '', 'NaN', `${timestamp}.0`, `-${timestamp}`, '1531420619'])
      expect(isSignedBySlack(secret, body, { timestamp: other, signature }, signedAtMs)).toBe(false);
    expect(isSignedBySlack('another', body, { timestamp, signature }, signedAtMs)).toBe(false);
    expect(isSignedBySlack(secret, Buffer.concat([body, Buffer.from(' ')]), { timestamp, signature }, signedAtMs)).toBe(false);
  });
});

const uuid = newId(1_800_000_000_000);
const id = toWireId('escalation', uuid);
const payload = (action: object, fields: object = {}) => ({
  type: 'block_actions',
  team: { id: 'T0123ABCD' },
  user: { id: 'U0123ABCD' },
  container: { message_ts: '1.2' },
  response_url: 'https://hooks.slack.com/actions/x',
  actions: [{ action_id: 'tocsin_ack', value: id, action_ts: '3.4', ...action }],
  ...fields,
});

describe('a press', () => {
  const press: SlackPress = {
    teamId: 'T0123ABCD',
    userId: 'U0123ABCD',
    actionId: 'tocsin_ack',
    escalationId: uuid,
    position: null,
    messageTs: '1.2',
    actionTs: '3.4',
    responseUrl: 'https://hooks.slack.com/actions/x',
    deliveryId: null,
    message: { text: null, blocks: [], attachment: null },
  };

  test('is read with the escalation, and the position where one is needed', () => {
    expect(readSlackPress(payload({}))).toEqual(press);
    expect(readSlackPress(payload({ action_id: 'tocsin_escalate', value: `${id}.2.3` }))).toMatchObject({
      position: { round: 2, tier: 3 },
    });
    const blocks = [{ type: 'header' }, null, 'x'];
    expect(readSlackPress(payload({}, { message: { blocks } }))).toMatchObject({
      message: { blocks: [{ type: 'header' }], attachment: null },
    });
    expect(readSlackPress(payload({}, { response_url: undefined }))).toMatchObject({ responseUrl: null });
  });

  test('below a message of ours says which delivery that is, and what the message shows', () => {
    const deliveryId = '01999fa8-d200-7b23-9b88-000000000004';
    const blocks = [{ type: 'header' }];
    const attachments = ['x', { color: '#fff' }, { color: '#D32F2F', fallback: 'Disk full', id: 1, blocks }];
    const read = readSlackPress(
      payload({ block_id: slackBlockId(deliveryId) }, { message: { text: 'Disk full', blocks: [], attachments } }),
    );
    expect(read).toMatchObject({
      deliveryId,
      message: { text: 'Disk full', blocks, attachment: { color: '#D32F2F', fallback: 'Disk full' } },
    });
    for (const other of ['a', 'tocsin_', `tocsin_${toWireId('event', uuid)}`])
      expect(readSlackPress(payload({ block_id: other }))).toMatchObject({ deliveryId: null });
  });

  test('of something else is ignored, and one that lacks what it needs is malformed', () => {
    for (const other of [payload({ action_id: 'approve' }), payload({}, { actions: [] }), payload({}, { type: 'view_submission' })])
      expect(readSlackPress(other)).toBe('ignored');
    const lacking = [
      null,
      [],
      'text',
      payload({ value: uuid }),
      payload({ value: `${id}.1.1` }),
      payload({ value: toWireId('event', uuid) }),
      payload({ action_ts: undefined }),
      payload({}, { team: null }),
      payload({}, { user: { id: 7 } }),
      payload({}, { container: {} }),
      ...['', '.1', '.1.', '.1.-1', '.1.1.1', '.x.1'].map((rest) => payload({ action_id: 'tocsin_escalate', value: id + rest })),
    ];
    for (const other of lacking) expect(readSlackPress(other)).toBe('malformed');
  });

  test('keeps its request id when it is told again, and no other press has it', () => {
    const requestId = slackRequestId(press);
    expect(slackRequestId({ ...press, responseUrl: null, message: { text: 't', blocks: [{}], attachment: null } })).toBe(requestId);
    const others: Array<Partial<SlackPress>> = [
      { teamId: 'T2' },
      { userId: 'U2' },
      { actionId: 'tocsin_resolve' },
      { messageTs: '1.3' },
      { actionTs: '3.5' },
    ];
    expect(new Set([requestId, ...others.map((other) => slackRequestId({ ...press, ...other }))]).size).toBe(6);
  });

  test('is one command', () => {
    const at = 1_000;
    expect(slackCommand(press, at)).toEqual({ name: 'acknowledge', extend: false });
    expect(slackCommand({ ...press, actionId: 'tocsin_resolve' }, at)).toEqual({ name: 'resolve' });
    expect(slackCommand({ ...press, actionId: 'tocsin_snooze_1h' }, at)).toEqual({ name: 'snooze', until: 3_601_000 });
    const position = { round: 2, tier: 3 };
    expect(slackCommand({ ...press, actionId: 'tocsin_escalate', position }, at)).toEqual({
      name: 'escalate',
      expected: position,
      toTier: null,
    });
  });
});
