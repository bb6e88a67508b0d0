import { DomainError } from '../domain/errors.ts';
import { toWireId } from '../domain/id.ts';
import type { IdKind } from '../domain/id.ts';

/** Something that names what is to be deleted. The id is a UUID. */
export interface User {
  readonly kind: IdKind;
  readonly id: string;
  readonly name: string;
}

/** Throws `in_use`, telling everything that names it, unless nothing does. */
export function assertUnused(noun: string, users: readonly User[]): void {
  if (users.length === 0) return;
  const faults = users.map(({ kind, id, name }) => ({
    pointer: '',
    code: 'in_use',
    detail: `${kind.replaceAll('_', ' ')} ${toWireId(kind, id)} "${name}"`,
  }));
  throw new DomainError('in_use', `What names this ${noun} must let go of it first.`, { faults });
}

/** Policies as users. */
export function policyUsers(policies: ReadonlyArray<Omit<User, 'kind'>>): User[] {
  return policies.map(({ id, name }) => ({ kind: 'escalation_policy', id, name }));
}
