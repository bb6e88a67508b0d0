import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { migrate } from '../../db/mikro-orm.config.ts';
const base = 'postgres://tocsin@127.0.0.1:55991';
export async function createTestDatabase(): Promise<{ databaseUrl: string; drop(): Promise<void> }> {
  const name = `t_${randomBytes(6).toString('hex')}`;
  const run = async (text: string) => {
    const c = new pg.Client(`${base}/postgres`);
    await c.connect();
    await c.query(text);
    await c.end();
  };
  await run(`create database ${name}`);
  await migrate(`${base}/${name}`);
  return { databaseUrl: `${base}/${name}`, drop: () => run(`drop database ${name} with (force)`) };
}
