import type { MikroORM } from '@mikro-orm/postgresql';

interface Column {
  schema: string;
  table: string;
  name: string;
  type: string;
  notNull: boolean;
  filled: boolean;
}

/**
 * Where entities and the migrated schema disagree: a missing table or column, another type, a null that only one side allows, a column
 * that an insert would have to fill and no property does. An entity may leave out columns that it does not need.
 */
export async function findEntityFaults(orm: MikroORM): Promise<string[]> {
  const columns = await readColumns(orm);
  const faults: string[] = [];
  for (const meta of orm.getMetadata().getAll().values()) {
    if (meta.tableName === undefined || meta.abstract === true) continue;
    const table = `${meta.schema ?? 'public'}.${meta.tableName}`;
    const own = new Map(columns.filter((one) => `${one.schema}.${one.table}` === table).map((column) => [column.name, column]));
    if (own.size === 0) {
      faults.push(`${meta.className}: the table ${table} does not exist.`);
      continue;
    }
    for (const property of meta.props.filter(({ persist }) => persist !== false)) {
      const [name] = property.fieldNames;
      const column = own.get(name!);
      own.delete(name!);
      const place = `${meta.className}.${property.name}`;
      if (column === undefined) {
        faults.push(`${place}: ${table} has no column ${name}.`);
        continue;
      }
      const [type] = property.columnTypes;
      if (canonicalType(type!) !== canonicalType(column.type)) faults.push(`${place}: is ${type}, the column is ${column.type}.`);
      if ((property.nullable === true) === column.notNull) faults.push(`${place}: only one of entity and column may be null.`);
    }
    for (const { name, notNull, filled } of own.values())
      if (notNull && !filled) faults.push(`${meta.className}: ${table}.${name} must be filled, and no property does.`);
  }
  return faults;
}

async function readColumns(orm: MikroORM): Promise<Column[]> {
  return orm.em.fork().execute<Column[]>(`
    select n.nspname as schema, c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
        a.attnotnull as "notNull", a.atthasdef or a.attidentity <> '' as filled
      from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and n.nspname in ('public', 'audit') and a.attnum > 0 and not a.attisdropped`);
}

const aliases: Readonly<Record<string, string>> = {
  int: 'integer',
  int4: 'integer',
  int8: 'bigint',
  int2: 'smallint',
  bool: 'boolean',
  float8: 'double precision',
  varchar: 'character varying',
};

/** PostgreSQL's own name of a type, without the precision of its time. */
function canonicalType(type: string): string {
  const plain = type.replace(/^timestamp(\(\d\))? with time zone$|^timestamptz(\(\d\))?$/, 'timestamptz');
  const [, base = plain, array = ''] = /^(.*?)((?:\[\])?)$/.exec(plain) ?? [];
  return (aliases[base] ?? base) + array;
}
