/** What an error of the database says to those who must act on it. */
export interface DatabaseFacts {
  readonly code: string | undefined;
  readonly constraint: string | undefined;
  readonly message: string;
}

/** The driver wraps errors; the fields of interest are on the first in the chain of causes that has a code. */
export function databaseFacts(error: unknown): DatabaseFacts {
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = 'code' in current && typeof current.code === 'string' ? current.code : undefined;
    const constraint = 'constraint' in current && typeof current.constraint === 'string' ? current.constraint : undefined;
    if (code !== undefined || current.cause === undefined) return { code, constraint, message: current.message };
  }
  return { code: undefined, constraint: undefined, message: '' };
}

const unreachableCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'ENOENT',
  'ETIMEDOUT',
  '53300',
  '57P01',
  '57P02',
  '57P03',
]);

/** Whether the database is away, or too busy for one more connection: trying again later is all there is to do. */
export function isUnreachable({ code, message }: DatabaseFacts): boolean {
  if (code !== undefined) return unreachableCodes.has(code) || code.startsWith('08');
  return /^Connection terminated|^timeout exceeded when trying to connect|^Client has encountered a connection error/.test(message);
}

/** Whether the same transaction may succeed later: the database is away, out of resources, or broke a tie between transactions. */
export function isTransient(facts: DatabaseFacts): boolean {
  return isUnreachable(facts) || /^(?:40|53|55P03|57)/.test(facts.code ?? '');
}
