import { z } from 'zod';
import { formatDuration } from '../domain/duration.ts';
import { acknowledgementProofs, type Target } from '../domain/escalation-policy.ts';
import { toWireId } from '../domain/id.ts';
import type { PlannedCommand, SimulatedCommand } from '../domain/simulation-plan.ts';
import { duration } from './duration.ts';
import { presentTarget, targets } from './escalation-policy-fields.ts';
import { wireId } from './schema.ts';

/** How bodies tell what people do in a simulation. */

const dayMs = 86_400_000;
export const longestMs = 30 * dayMs;

/** An instant of a simulation. */
export const after = duration(longestMs).meta({ description: 'Since the start.', example: 'PT5M' });

const order = {
  after,
  as: wireId('user').meta({ description: 'Who gives the command.' }),
  proof: z.enum(acknowledgementProofs).default('session').meta({ description: 'How they are known.' }),
  event: z.int().min(0).default(0).meta({ description: 'The place in `events` (from 0) of one that the escalation is about.' }),
};
const command = <const Name extends string>(name: Name) => ({ ...order, command: z.literal(name) });

export const actor = z
  .discriminatedUnion('command', [
    z.strictObject({ ...command('acknowledge'), extend: z.boolean().default(false) }),
    z.strictObject(command('unacknowledge')),
    z.strictObject(command('resolve')),
    z.strictObject({
      ...command('escalate'),
      expected: z
        .strictObject({ round: z.int().min(1), tier: z.int().min(0) })
        .nullable()
        .default(null)
        .meta({ description: 'Default: where the escalation is then.' }),
      toTier: z.int().min(1).max(10).nullable().default(null),
    }),
    z.strictObject({ ...command('snooze'), for: duration(7 * dayMs) }),
    z
      .strictObject({
        ...command('reassign'),
        policyId: wireId('escalation_policy').optional(),
        targets: targets({ min: 1, max: 20 }).optional(),
      })
      .refine(({ policyId, targets: named }) => (policyId === undefined) !== (named === undefined), {
        error: 'must have either policyId or targets',
        params: { code: 'exactly_one' },
      }),
    z.strictObject({
      ...command('rebase'),
      policyVersion: z
        .int()
        .min(1)
        .max(2 ** 31 - 1),
    }),
  ])
  .transform((given): PlannedCommand => {
    const { after: afterMs, as: userId, proof, event: about } = given;
    return { afterMs, event: about, userId, proof, command: readCommand(given) };
  });

type ActorInput =
  | { command: 'acknowledge'; extend: boolean }
  | { command: 'unacknowledge' | 'resolve' }
  | { command: 'escalate'; expected: { round: number; tier: number } | null; toTier: number | null }
  | { command: 'snooze'; for: number }
  | { command: 'reassign'; policyId?: string | undefined; targets?: readonly Target[] | undefined }
  | { command: 'rebase'; policyVersion: number };

function readCommand(given: ActorInput): SimulatedCommand {
  switch (given.command) {
    case 'acknowledge':
      return { name: 'acknowledge', extend: given.extend };
    case 'escalate':
      return { name: 'escalate', expected: given.expected, toTier: given.toTier };
    case 'snooze':
      return { name: 'snooze', forMs: given.for };
    case 'reassign':
      return { name: 'reassign', to: given.policyId === undefined ? { targets: given.targets ?? [] } : { policyId: given.policyId } };
    case 'rebase':
      return { name: 'rebase', version: given.policyVersion };
    case 'unacknowledge':
    case 'resolve':
      return { name: given.command };
  }
}

export function presentActor({ afterMs, event: about, userId, proof, command: given }: PlannedCommand) {
  return {
    after: formatDuration(afterMs),
    event: about,
    as: toWireId('user', userId),
    proof,
    command: given.name,
    ...presentCommand(given),
  };
}

function presentCommand(given: SimulatedCommand) {
  switch (given.name) {
    case 'acknowledge':
      return { extend: given.extend };
    case 'escalate':
      return { expected: given.expected, toTier: given.toTier };
    case 'snooze':
      return { for: formatDuration(given.forMs) };
    case 'reassign':
      return 'policyId' in given.to
        ? { policyId: toWireId('escalation_policy', given.to.policyId) }
        : { targets: given.to.targets.map(presentTarget) };
    case 'rebase':
      return { policyVersion: given.version };
    case 'unacknowledge':
    case 'resolve':
      return {};
  }
}
