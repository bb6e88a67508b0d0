import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { SilenceEntity } from '../db/entities/silence.ts';
import type { SilenceRow } from '../db/entities/silence.ts';
import { planSilence } from '../db/silence-step.ts';
import { DomainError, notFound, validationFailed } from '../domain/errors.ts';
import { newId, toWireId } from '../domain/id.ts';
import { silenceFaults, silenceRules } from '../domain/silence.ts';
import { endpoint, type TransactionContext } from './endpoint.ts';
import { matcher, presentMatcher, shownMatcher } from './matcher.ts';
import { openPageById, pageOf, pageQuery } from './paging.ts';
import { idParams, listOf, presentedId, presentedTime, prose, time } from './schema.ts';
import { inspectWith } from './validation.ts';
import { assertVersion, versionHeaders } from './version.ts';

const states = ['scheduled', 'active', 'ended', 'cancelled'] as const;

const fields = {
  matchers: z.array(matcher).meta({ description: '1 to 10; all must match.' }),
  startsAt: time,
  endsAt: time.meta({ description: 'At most 30 days after the start; it mutes until then, not at it.' }),
  comment: prose(silenceRules.commentLength)
    .transform((text) => text.trim())
    .meta({ description: 'Why: people read it when they miss a message.', example: 'Migration of the payments database' }),
};

const silence = z
  .strictObject({
    id: presentedId('silence'),
    state: z.enum(states),
    matchers: z.array(shownMatcher),
    comment: z.string(),
    startsAt: presentedTime,
    endsAt: presentedTime,
    createdBy: z.string().meta({ description: 'A member or service account.' }),
    version: z.int(),
    createdAt: presentedTime,
    updatedAt: presentedTime,
  })
  .meta({ id: 'Silence' });

function stateOf({ cancelledAt, startsAt, endsAt }: SilenceRow, now: Date): (typeof states)[number] {
  if (cancelledAt) return 'cancelled';
  if (now < startsAt) return 'scheduled';
  return now < endsAt ? 'active' : 'ended';
}

function presentSilence(row: SilenceRow, now: Date) {
  return {
    id: toWireId('silence', row.id),
    state: stateOf(row, now),
    matchers: row.matchers.map(presentMatcher),
    comment: row.comment,
    startsAt: row.startsAt.toISOString(),
    endsAt: row.endsAt.toISOString(),
    createdBy: toWireId(row.creatorType, row.creatorId),
    version: row.version,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

async function findSilence(em: EntityManager, organizationId: string, id: string, lockMode: LockMode = LockMode.NONE): Promise<SilenceRow> {
  const row = await em.findOne(SilenceEntity, { orgId: organizationId, id }, { lockMode });
  if (row === null) throw notFound();
  return row;
}

/** What has ended has routed events as it did: it is a record, and stays. */
function assertUnended(row: SilenceRow, now: Date): void {
  const state = stateOf(row, now);
  if (state === 'ended' || state === 'cancelled') throw new DomainError('wrong_state', `The silence is ${state}.`);
}

const whereOf: Readonly<Record<(typeof states)[number], (now: Date) => object>> = {
  scheduled: (now) => ({ cancelledAt: null, startsAt: { $gt: now } }),
  active: (now) => ({ cancelledAt: null, startsAt: { $lte: now }, endsAt: { $gt: now } }),
  ended: (now) => ({ cancelledAt: null, endsAt: { $lte: now } }),
  cancelled: () => ({ cancelledAt: { $ne: null } }),
};

/** What the silence does by itself is set with the change, and its workflow told after. */
async function keepClock(
  { em, afterCommit, deps }: Pick<TransactionContext, 'em' | 'afterCommit' | 'deps'>,
  row: SilenceRow,
): Promise<void> {
  await em.flush();
  await planSilence(em, row);
  afterCommit(() => deps.wakeSilence({ organizationId: row.orgId, silenceId: row.id }));
}

const listSilences = endpoint({
  name: 'silence.list',
  method: 'get',
  path: '/silences',
  tag: 'Silences',
  summary: 'List silences, newest first',
  permission: 'monitoring.view',
  query: z.strictObject({ ...pageQuery, state: listOf(z.enum(states)).optional() }),
  responses: { 200: { description: 'A page of silences.', schema: pageOf(silence) } },
  handler: async ({ em, input: { query }, now, ...context }) => {
    const page = openPageById(context, query, 'silence.list');
    const chosen = query.state === undefined ? {} : { $or: query.state.map((state) => whereOf[state](now)) };
    const rows = await em.find(SilenceEntity, { orgId: context.principal.organizationId, ...chosen, ...page.where }, page.options);
    return { body: page.present(rows, (row) => presentSilence(row, now)) };
  },
});

/** What of it has its form: the rest has faults of its own. */
const checked = z.object({
  matchers: fields.matchers.optional().catch(undefined),
  startsAt: time.optional().catch(undefined),
  endsAt: time.optional().catch(undefined),
  comment: fields.comment.optional().catch(undefined),
});

const createSilence = endpoint({
  name: 'silence.create',
  method: 'post',
  path: '/silences',
  tag: 'Silences',
  summary: 'Mute matching events for a time',
  description: 'They are recorded, and nobody is told. At the end each problem that is still open is told of once.',
  permission: 'monitoring.manage',
  idempotent: true,
  inspect: inspectWith(checked, ({ startsAt = new Date(), endsAt, ...rest }) =>
    silenceFaults({ ...rest, startsAt: startsAt.getTime(), endsAt: endsAt?.getTime() }, Date.now()),
  ),
  body: z
    .strictObject({
      matchers: fields.matchers,
      startsAt: fields.startsAt.optional().meta({ description: 'Default: now.' }),
      endsAt: fields.endsAt,
      comment: fields.comment,
    })
    .meta({ id: 'SilenceCreate' }),
  responses: { 201: { description: 'The silence.', schema: silence } },
  handler: async (context) => {
    const {
      em,
      principal,
      input: { body },
      now,
      audit,
    } = context;
    const row = em.create(SilenceEntity, {
      ...body,
      id: newId(now.getTime()),
      orgId: principal.organizationId,
      startsAt: body.startsAt ?? now,
      creatorType: principal.type,
      creatorId: principal.id,
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    const after = presentSilence(row, now);
    audit({ resource: { type: 'silence', id: row.id }, after });
    await keepClock(context, row);
    return { body: after, headers: versionHeaders(row) };
  },
});

const readSilence = endpoint({
  name: 'silence.view',
  method: 'get',
  path: '/silences/{id}',
  tag: 'Silences',
  summary: 'Read a silence',
  permission: 'monitoring.view',
  params: idParams('silence'),
  responses: { 200: { description: 'The silence.', schema: silence } },
  handler: async ({ em, principal, input, now }) => {
    const row = await findSilence(em, principal.organizationId, input.params.id);
    return { body: presentSilence(row, now), headers: versionHeaders(row) };
  },
});

const updateSilence = endpoint({
  name: 'silence.update',
  method: 'patch',
  path: '/silences/{id}',
  tag: 'Silences',
  summary: 'Change when a silence ends, or its comment',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('silence'),
  body: z.strictObject({ endsAt: fields.endsAt.optional(), comment: fields.comment.optional() }).meta({ id: 'SilencePatch' }),
  responses: { 200: { description: 'The silence as it is now.', schema: silence } },
  handler: async (context) => {
    const {
      em,
      principal,
      input: { params, body },
      ifMatch,
      now,
      audit,
    } = context;
    const row = await findSilence(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    assertUnended(row, now);
    const before = presentSilence(row, now);
    row.endsAt = body.endsAt ?? row.endsAt;
    row.comment = body.comment ?? row.comment;
    const { matchers, startsAt, endsAt, comment } = row;
    const faults = silenceFaults({ matchers, startsAt: startsAt.getTime(), endsAt: endsAt.getTime(), comment }, now.getTime());
    if (faults.length > 0) throw validationFailed(faults);
    row.version += 1;
    row.updatedAt = now;
    const after = presentSilence(row, now);
    audit({ resource: { type: 'silence', id: row.id }, before, after });
    await keepClock(context, row);
    return { body: after, headers: versionHeaders(row) };
  },
});

const cancelSilence = endpoint({
  name: 'silence.cancel',
  method: 'delete',
  path: '/silences/{id}',
  tag: 'Silences',
  summary: 'End a silence now',
  description: 'It stays listed as `cancelled`: what it muted names it.',
  permission: 'monitoring.manage',
  conditional: true,
  params: idParams('silence'),
  responses: { 204: { description: 'Cancelled.' } },
  handler: async (context) => {
    const {
      em,
      principal,
      input: { params },
      ifMatch,
      now,
      audit,
    } = context;
    const row = await findSilence(em, principal.organizationId, params.id, LockMode.PESSIMISTIC_WRITE);
    assertVersion(row, ifMatch);
    assertUnended(row, now);
    const before = presentSilence(row, now);
    row.cancelledAt = now;
    row.endsAt = now < row.startsAt ? row.startsAt : now;
    row.version += 1;
    row.updatedAt = now;
    audit({ resource: { type: 'silence', id: row.id }, before, after: presentSilence(row, now) });
    await keepClock(context, row);
    return {};
  },
});

export const silenceEndpoints = [listSilences, createSilence, readSilence, updateSilence, cancelSilence];
