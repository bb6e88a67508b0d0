import { DomainError } from './errors.ts';
import type { Gradual } from './gradual.ts';
import { simulatePolicy } from './policy-simulation.ts';
import type { SimulatedPage, SimulationFacts, SimulationPlan } from './simulation-plan.ts';
import { mostSteps } from './simulation-record.ts';

/** A message that a simulation has to send. */
export interface ExpectedMessage {
  readonly afterMs: number;
  readonly kind: SimulatedPage['kind'];
  /** `user`: on all of the user's contact methods that are paged. */
  readonly recipient: { readonly kind: 'user' | 'contact' | 'channel' | 'webhook'; readonly id: string };
  /** Null: whichever. */
  readonly round: number | null;
  readonly tier: number | null;
}

/** A simulation with all the messages that it has to send, in any order. */
export interface PolicyTest {
  readonly id: string;
  readonly name: string;
  readonly plan: SimulationPlan;
  readonly expected: readonly ExpectedMessage[];
}

export interface PolicyTestResult {
  readonly test: PolicyTest;
  readonly passed: boolean;
  /** Expected and not sent. */
  readonly missing: readonly ExpectedMessage[];
  /** Sent and not expected. */
  readonly unexpected: readonly SimulatedPage[];
  readonly messages: readonly SimulatedPage[];
  /** Why it came to no end. */
  readonly fault: string | null;
}

/** Runs all tests of a policy. Together they may take as many steps as one simulation: those for which none are left fail. */
export function* runPolicyTests(tests: readonly PolicyTest[], facts: SimulationFacts): Gradual<PolicyTestResult[]> {
  const results: PolicyTestResult[] = [];
  let left = mostSteps;
  for (const test of tests) {
    try {
      const { messages, steps } = yield* simulatePolicy(facts, test.plan, left);
      left -= steps;
      results.push({ test, messages, fault: null, ...compareMessages(test, messages) });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      left = 0;
      const fault = error.faults?.[0]?.detail ?? error.detail;
      results.push({ test, passed: false, missing: test.expected, unexpected: [], messages: [], fault });
    }
  }
  return results;
}

/** Each message stands for one expectation; one about a user takes all that a firing sent the user. */
function compareMessages({ expected, plan: { startAt } }: PolicyTest, messages: readonly SimulatedPage[]) {
  const unexpected = new Set(messages);
  const missing = expected.filter((wanted) => {
    const found = [...unexpected].filter((message) => matches(wanted, message, startAt));
    const [first] = found;
    if (first === undefined) return true;
    const isOfOne = ({ escalation, firing }: SimulatedPage): boolean => escalation === first.escalation && firing === first.firing;
    for (const message of wanted.recipient.kind === 'user' ? found.filter(isOfOne) : [first]) unexpected.delete(message);
    return false;
  });
  return { passed: missing.length === 0 && unexpected.size === 0, missing, unexpected: [...unexpected] };
}

function matches({ afterMs, kind, recipient, round, tier }: ExpectedMessage, message: SimulatedPage, startAt: number): boolean {
  return (
    message.at === startAt + afterMs &&
    message.kind === kind &&
    (recipient.kind === 'user'
      ? message.recipient.userId === recipient.id
      : message.recipient.kind === recipient.kind && message.recipient.id === recipient.id) &&
    (round === null || message.round === round) &&
    (tier === null || message.tier === tier)
  );
}

/** What would have to be expected of these messages, those to one person at once as one. */
export function expectMessages(messages: readonly SimulatedPage[], startAt: number): ExpectedMessage[] {
  const all = new Map<string, ExpectedMessage>();
  for (const { at, kind, escalation, round, tier, firing, recipient } of messages) {
    const told = recipient.userId === null ? { kind: recipient.kind, id: recipient.id } : ({ kind: 'user', id: recipient.userId } as const);
    const place = `${at} ${kind} ${escalation} ${firing} ${told.kind} ${told.id}`;
    if (!all.has(place)) all.set(place, { afterMs: at - startAt, kind, recipient: told, round, tier });
  }
  return [...all.values()];
}
