import { createHash } from 'node:crypto';
import pg from 'pg';
import { demand } from './fault.ts';

export interface Forgery {
  /** UUID of the entry. */
  readonly entryId: string;
  readonly from: string;
  readonly to: string;
}

/**
 * What an operator with every right in PostgreSQL could do to hide something: edits an entry's document, and its leaf hash with it, so
 * that the row agrees with itself.
 * @returns what PostgreSQL said to the same edit while its triggers were on
 */
export async function forgeEntry(databaseUrl: string, { entryId, from, to }: Forgery): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ canonical: Buffer }>('select canonical from audit.entry where id = $1', [entryId]);
    const original = rows[0]?.canonical.toString('utf8') ?? '';
    demand(original.split(from).length === 2, `The audit entry does not hold ${from} exactly once.`);
    const canonical = Buffer.from(original.replace(from, to));
    const leafHash = createHash('sha256')
      .update(Buffer.from([0]))
      .update(canonical)
      .digest();
    const edit = async (): Promise<number | null> =>
      (await client.query('update audit.entry set canonical = $2, leaf_hash = $3 where id = $1', [entryId, canonical, leafHash])).rowCount;

    const refusal = await edit().then(
      () => undefined,
      (error: unknown) => (error as Error).message,
    );
    demand(refusal !== undefined, 'PostgreSQL let an audit entry be edited.');
    await client.query('set session_replication_role = replica');
    demand((await edit()) === 1, 'The audit entry could not be edited with the triggers off.');
    return refusal;
  } finally {
    await client.end();
  }
}
