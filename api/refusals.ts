import type { MikroORM } from '@mikro-orm/postgresql';
import { appendAudit } from '../db/audit-log.ts';
import { inOrganization } from '../db/tenant.ts';
import type { Logger } from '../log.ts';
import type { AuditPart, AuditTrail } from './audit-trail.ts';
import type { Principal } from './authorization.ts';

/** Audit entries for what was refused or failed: its own transaction was rolled back or never began, so each has one here. */
export interface Refusals {
  /**
   * Writes the entry, at most one per credential, action and reason in 60 seconds; the next one counts what was left out. Never
   * rejects: the caller's answer is already decided.
   * @returns ids (UUIDs) of the entries written
   */
  record(refusal: { principal: Principal; trail: AuditTrail; part: AuditPart; httpStatus: number; now: Date }): Promise<readonly string[]>;
}

const quietMs = 60_000;
const recentMax = 10_000;

export function createRefusals({ orm, log }: { orm: MikroORM; log: Logger }): Refusals {
  const recent = new Map<string, { atMs: number; leftOut: number }>();

  /** How many were left out before this one; undefined when this one is to be left out too. */
  function admit(key: string, nowMs: number): number | undefined {
    const last = recent.get(key);
    if (last !== undefined && nowMs - last.atMs < quietMs) {
      last.leftOut += 1;
      return undefined;
    }
    if (recent.size >= recentMax) recent.clear();
    recent.set(key, { atMs: nowMs, leftOut: 0 });
    return last?.leftOut ?? 0;
  }

  return {
    async record({ principal, trail, part, httpStatus, now }) {
      const draft = trail.complete(part, httpStatus);
      const leftOut = admit(`${principal.apiKey.id} ${draft.action} ${part.reason ?? ''}`, now.getTime());
      if (leftOut === undefined) return [];
      try {
        const counted = leftOut === 0 ? draft : { ...draft, details: { ...draft.details, leftOut } };
        return await inOrganization(orm, principal.organizationId, (em) => appendAudit(em, [counted]));
      } catch (error) {
        log.error('audit', { organizationId: principal.organizationId, action: draft.action, error });
        return [];
      }
    },
  };
}
