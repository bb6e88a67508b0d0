import { z } from 'zod';
import type { EscalationPolicyTestRow } from '../db/entities/escalation-policy-test.ts';
import { formatDuration } from '../domain/duration.ts';
import { toWireId } from '../domain/id.ts';
import { type ExpectedMessage, expectMessages, type PolicyTest, type PolicyTestResult } from '../domain/policy-test.ts';
import { presentedDuration } from './duration.ts';
import { presentedId, presentedTime, text, wireId } from './schema.ts';
import { after } from './simulation-actors.ts';
import { messageKinds } from './simulation-answer.ts';
import { checkActors, planFields, presentPlan } from './simulation-fields.ts';

const mostExpected = 1_000;

const recipient = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('user'), id: wireId('user') }),
  z.strictObject({ kind: z.literal('contact'), id: wireId('contact_method') }),
  z.strictObject({ kind: z.literal('channel'), id: wireId('channel') }),
  z.strictObject({ kind: z.literal('webhook'), id: wireId('webhook') }),
]);

const expected = z
  .strictObject({
    after,
    kind: z.enum(messageKinds).default('page'),
    recipient: recipient.meta({ description: '`user`: on all contact methods that are paged.' }),
    round: z.int().min(1).nullable().default(null).meta({ description: 'Null: whichever.' }),
    tier: z.int().min(1).nullable().default(null).meta({ description: 'Null: whichever.' }),
  })
  .transform(({ after: afterMs, ...same }): ExpectedMessage => ({ ...same, afterMs }));

export const policyTestInput = z
  .strictObject({
    name: text(1, 128).meta({ example: 'A disk at night' }),
    ...planFields,
    expected: z
      .array(expected)
      .max(mostExpected)
      .optional()
      .meta({ description: 'Every message outside the app, in any order. Default: those that the policy as it is now sends.' }),
  })
  .superRefine(checkActors)
  .meta({ id: 'PolicyTestInput' });

const shownMessage = z.strictObject({
  after: presentedDuration,
  kind: z.enum(messageKinds),
  recipient: z.strictObject({ kind: z.enum(['user', 'contact', 'channel', 'webhook']), id: z.string() }),
  round: z.int().nullable(),
  tier: z.int().nullable(),
});

export const shownPolicyTest = z
  .strictObject({
    id: presentedId('policy_test'),
    name: z.string(),
    start: presentedTime,
    horizon: presentedDuration,
    events: z.array(z.looseObject({ after: presentedDuration, type: z.string() })),
    actors: z.array(z.looseObject({ after: presentedDuration, as: presentedId('user'), command: z.string() })),
    deliveries: z.union([
      z.literal('delivered'),
      z.record(z.string(), z.union([z.literal('rejected'), z.strictObject({ rejectedAfter: presentedDuration })])),
    ]),
    expected: z.array(shownMessage),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'PolicyTest' });

export const policyTestResult = z
  .strictObject({
    test: z.strictObject({ id: presentedId('policy_test'), name: z.string() }),
    passed: z.boolean(),
    missing: z.array(shownMessage).meta({ description: 'Expected and not sent.' }),
    unexpected: z.array(shownMessage).meta({ description: 'Sent and not expected.' }),
    actual: z.array(shownMessage).meta({ description: 'What was sent; to one person at once is one.' }),
    fault: z.string().nullable().meta({ description: 'Why it came to no end.' }),
  })
  .meta({ id: 'PolicyTestResult' });

/** The allow-list of what leaves the server about a test. */
export function presentPolicyTest(row: EscalationPolicyTestRow) {
  return {
    id: toWireId('policy_test', row.id),
    name: row.name,
    ...presentPlan(row.plan),
    expected: row.expected.map(presentMessage),
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export function presentPolicyTestResult({ test, passed, missing, unexpected, messages, fault }: PolicyTestResult) {
  const { startAt } = test.plan;
  return {
    test: { id: toWireId('policy_test', test.id), name: test.name },
    passed,
    missing: missing.map(presentMessage),
    unexpected: expectMessages(unexpected, startAt).map(presentMessage),
    actual: expectMessages(messages, startAt).map(presentMessage),
    fault,
  };
}

function presentMessage({ afterMs, kind, recipient: { kind: recipientKind, id }, round, tier }: ExpectedMessage) {
  const wire = toWireId(recipientKind === 'contact' ? 'contact_method' : recipientKind, id);
  return { after: formatDuration(afterMs), kind, recipient: { kind: recipientKind, id: wire }, round, tier };
}

/** What a failed test expected and what it got, in one line for people. */
export function describeFailure({ test, messages, fault }: PolicyTestResult): string {
  const told = (all: readonly ExpectedMessage[]): string => {
    const lines = all.map(presentMessage).map((one) => `${one.kind} ${one.recipient.id} at ${one.after}`);
    const more = lines.length > mostTold ? `, and ${lines.length - mostTold} more` : '';
    return lines.length === 0 ? 'nothing' : lines.slice(0, mostTold).join(', ') + more;
  };
  const actual = fault ?? told(expectMessages(messages, test.plan.startAt));
  return `"${test.name}" failed. Expected: ${told(test.expected)}. Actual: ${actual}.`;
}

const mostTold = 50;

export function policyTestOf({ id, name, plan, expected: wanted }: EscalationPolicyTestRow): PolicyTest {
  return { id, name, plan, expected: wanted };
}
