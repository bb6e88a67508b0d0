import { z } from 'zod';
import type { SecretBox } from '../db/secrets.ts';
import { validationFailed } from '../domain/errors.ts';
import type { TransactionContext } from './endpoint.ts';

/** Query parameters of every list. */
export const pageQuery = {
  cursor: z.string().max(2000).optional().meta({ description: '`nextCursor` of the previous page.' }),
  limit: z.coerce.number().int().min(1).max(500).default(50).meta({ description: 'Most rows in one answer.' }),
};

/** The condition that a time lies in [from, to), as far as the ends are given. */
export function within<Column extends string>(column: Column, { from, to }: { from?: Date | undefined; to?: Date | undefined }) {
  const range = { ...(from === undefined ? {} : { $gte: from }), ...(to === undefined ? {} : { $lt: to }) };
  return (from === undefined && to === undefined ? {} : { [column]: range }) as { [Name in Column]?: typeof range };
}

/** The answer of every list. `nextCursor` is null on the last page. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ data: z.array(item), nextCursor: z.string().nullable() });
}

export interface Page<K> {
  /** The key of the last row of the page before; undefined on the first page. */
  readonly after: K | undefined;
  /** How many rows to ask for: one more than fits tells whether another page follows. */
  readonly take: number;
  /** Presents the rows found. `keyOf` is what the order is by, and MUST be unique. */
  present<R, V>(rows: readonly R[], keyOf: (row: R) => K, presenter: (row: R) => V): { data: V[]; nextCursor: string | null };
}

type PagingContext = Pick<TransactionContext, 'principal'> & { readonly deps: { readonly secrets: SecretBox } };

/**
 * Opens the page that a query asks for. Pages go by key, not by offset, so rows that come or go meanwhile shift nothing. A cursor
 * is sealed: it opens only in its organization and list, and what it holds is no contract.
 * @param list the endpoint's name and whatever else the cursor must not be moved between
 */
export function openPage<K extends z.ZodType>(
  { principal, deps }: PagingContext,
  query: { cursor?: string | undefined; limit: number },
  { list, key }: { list: string; key: K },
): Page<z.output<K>> {
  const place = { organizationId: principal.organizationId, table: 'cursor', row: list, field: 'after' };
  return {
    after: query.cursor === undefined ? undefined : openCursor(query.cursor, key, (sealed) => deps.secrets.open(sealed, place)),
    take: query.limit + 1,
    present(rows, keyOf, presenter) {
      const shown = rows.slice(0, query.limit);
      const last = shown.at(-1);
      const more = rows.length > query.limit && last !== undefined;
      return {
        data: shown.map(presenter),
        nextCursor: more ? deps.secrets.seal(JSON.stringify(keyOf(last)), place).toString('base64url') : null,
      };
    },
  };
}

function openCursor<K extends z.ZodType>(cursor: string, key: K, open: (sealed: Buffer) => string): z.output<K> {
  try {
    return key.parse(JSON.parse(open(Buffer.from(cursor, 'base64url'))));
  } catch {
    throw validationFailed([{ pointer: '/query/cursor', code: 'invalid_cursor', detail: 'is not a cursor of this list' }]);
  }
}

/** The usual order: newest first, by id, since ids begin with their time. */
export function openPageById(context: PagingContext, query: { cursor?: string | undefined; limit: number }, list: string) {
  const page = openPage(context, query, { list, key: z.string() });
  return {
    where: page.after === undefined ? {} : { id: { $lt: page.after } },
    options: { orderBy: { id: 'desc' }, limit: page.take } as const,
    present: <R extends { id: string }, V>(rows: readonly R[], presenter: (row: R) => V) => page.present(rows, ({ id }) => id, presenter),
  };
}
