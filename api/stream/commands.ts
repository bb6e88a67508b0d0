import type { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { appendAudit } from '../../db/audit-log.ts';
import { readReplay } from '../../db/queries/feed-changes.ts';
import { markAllRead, markRead } from '../../db/queries/notification-marks.ts';
import type { SecretBox } from '../../db/secrets.ts';
import { inOrganization, readInOrganization } from '../../db/tenant.ts';
import { feeds } from '../../domain/event-type.ts';
import { type AuditPart, createAuditTrail } from '../audit-trail.ts';
import type { Principal } from '../authorization.ts';
import { basePath } from '../endpoint.ts';
import { type Client, release, sendNow } from './client.ts';
import type { Command } from './connection.ts';
import { messageOf, tellMarks } from './deliver.ts';
import type { Req } from './protocol.ts';
import { openResume } from './resume.ts';

export interface CommandDependencies {
  readonly orm: MikroORM;
  readonly secrets: SecretBox;
  readonly now: () => Date;
  /** Marks of the organization changed. */
  readonly changed: (organizationId: string) => void;
}

const replayMax = 500;
const replayMs = 24 * 3_600_000;

/** Does what an open connection asks for and answers it. Rejects when the database cannot be asked. */
export async function carryOut(client: Client, principal: Principal, command: Command, deps: CommandDependencies): Promise<void> {
  switch (command.t) {
    case 'resume':
      return resume(client, principal, command.token, deps);
    case 'read':
      await change(client, principal, deps, async (em, reader, now) => {
        const marked = await markRead(em, reader, command.ids, now);
        return marked.map((id) => ({ action: 'notification.read', resource: { type: 'notification', id } }));
      });
      return answer(client, command.req);
    case 'read_all':
      await change(client, principal, deps, async (em, reader, now) => {
        const which = command.category === undefined ? feeds : [command.category];
        const marked = await markAllRead(em, reader, { upTo: command.before, feeds: which, now });
        return [{ action: 'notification.read_all', resource: { type: 'notification', id: 'all' }, details: { marked } }];
      });
      return answer(client, command.req);
  }
}

function answer(client: Client, req: Req | undefined): void {
  sendNow(client, { t: 'ok', ...(req === undefined ? {} : { req }) });
}

/** A change and its audit entries, in one transaction. */
async function change(
  client: Client,
  principal: Principal,
  { orm, now, changed }: CommandDependencies,
  work: (em: EntityManager, reader: { organizationId: string; userId: string }, now: Date) => Promise<AuditPart[]>,
): Promise<void> {
  const { organizationId, id: userId } = principal;
  const at = now();
  const { requestId, ip, userAgent } = client;
  await inOrganization(orm, organizationId, async (em) => {
    const parts = await work(em, { organizationId, userId }, at);
    const trail = createAuditTrail({
      action: 'notification.read',
      method: 'get',
      route: `${basePath}/stream`,
      requestId,
      ip,
      userAgent,
      principal,
      now: at,
    });
    if (parts.length > 0)
      await appendAudit(
        em,
        parts.map((part) => trail.complete(part, 101)),
      );
  });
  changed(organizationId);
}

/** What changes meanwhile waits: an item as it was a moment ago must not come after the news that it was read. */
async function resume(client: Client, principal: Principal, token: string, { orm, secrets, now }: CommandDependencies): Promise<void> {
  const { organizationId, id: userId } = principal;
  const point = openResume(secrets, organizationId, token);
  if (point === undefined) {
    sendNow(client, { t: 'error', code: 'invalid_resume' });
    return sendNow(client, { t: 'resync' });
  }
  if (now().getTime() - point.at > replayMs) return sendNow(client, { t: 'resync' });
  client.waiting ??= [];
  try {
    const replay = await readInOrganization(orm, organizationId, async (em) =>
      readReplay(em, { organizationId, userId }, { point, most: replayMax }),
    );
    if (replay === undefined) return sendNow(client, { t: 'resync' });
    for (const message of tellMarks(replay.marks, replay.watermarks)) sendNow(client, message);
    for (const item of replay.items) sendNow(client, messageOf(item, token));
  } finally {
    release(client);
  }
}
