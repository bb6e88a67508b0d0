import type { Json, JsonObject } from './openapi.ts';

/** A JSON Schema as nested HTML lists; named schemas are links. */
export function renderSchema(schema: Json): string {
  const node = members(schema);
  const reference = referenceOf(node);
  if (reference !== undefined) return `<a class="type" href="#schema-${reference}">${escapeHtml(reference)}</a>`;
  const properties = Object.entries(members(node['properties']));
  const notes = renderNotes(node);
  if (properties.length === 0) {
    const items = node['items'] === undefined ? '' : ` of ${renderSchema(node['items'])}`;
    const alternatives = list(node['anyOf'] ?? node['oneOf'])
      .map(renderSchema)
      .join(' <i>or</i> ');
    return `<span class="type">${escapeHtml(alternatives === '' ? typeOf(node) : '')}</span>${items}${alternatives}${notes}`;
  }
  const required = new Set(list(node['required']));
  const rows = properties.map(([name, property]) => {
    const mark = required.has(name) ? '<em title="required">*</em>' : '';
    const description = members(property)['description'];
    const words = typeof description === 'string' ? `<p>${renderWords(description)}</p>` : '';
    return `<li><code>${escapeHtml(name)}</code>${mark} ${renderSchema(property)}${words}</li>`;
  });
  return `<ul class="properties">${rows.join('')}</ul>`;
}

/** The schema itself where it is named: what an operation takes or gives is read in place, what that contains by its name. */
export function resolveSchema(schema: Json, schemas: JsonObject): Json {
  const reference = referenceOf(members(schema));
  return reference === undefined ? schema : (schemas[reference] ?? schema);
}

/** Words for people, as HTML: text in backticks is code. */
export function renderWords(text: string): string {
  return escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>');
}

/** A value that the schema takes: what a reader would type. */
export function exampleOf(schema: Json, schemas: JsonObject): Json {
  const node = members(schema);
  const reference = referenceOf(node);
  if (reference !== undefined) return exampleOf(schemas[reference] ?? {}, schemas);
  for (const key of ['example', 'default', 'const']) if (node[key] !== undefined) return node[key];
  const [first] = list(node['enum']);
  if (first !== undefined) return first;
  const [alternative] = list(node['anyOf'] ?? node['oneOf']);
  if (alternative !== undefined) return exampleOf(alternative, schemas);
  if (node['properties'] !== undefined) {
    const required = list(node['required']);
    const properties = Object.entries(members(node['properties']));
    const told = properties.filter(([name, property]) => required.includes(name) || members(property)['example'] !== undefined);
    return Object.fromEntries(told.map(([name, property]) => [name, exampleOf(property, schemas)]));
  }
  switch (typeOf(node)) {
    case 'array':
      return node['items'] === undefined ? [] : [exampleOf(node['items'], schemas)];
    case 'integer':
    case 'number':
      return typeof node['minimum'] === 'number' ? node['minimum'] : 1;
    case 'boolean':
      return true;
    case 'object':
      return {};
    default:
      return 'text';
  }
}

function renderNotes(node: JsonObject): string {
  const notes: string[] = [];
  const values = list(node['enum']);
  if (values.length > 0) notes.push(values.map((value) => JSON.stringify(value)).join(' · '));
  if (node['const'] !== undefined) notes.push(JSON.stringify(node['const']));
  const bounds: ReadonlyArray<readonly [string, string]> = [
    ['minLength', '≥ %'],
    ['maxLength', '≤ % characters'],
    ['minimum', '≥ %'],
    ['maximum', '≤ %'],
    ['minItems', '≥ %'],
    ['maxItems', '≤ % elements'],
  ];
  for (const [key, words] of bounds) {
    const bound = node[key];
    if (typeof bound === 'number' && Math.abs(bound) < Number.MAX_SAFE_INTEGER) notes.push(words.replace('%', String(bound)));
  }
  if (node['default'] !== undefined) notes.push(`default ${JSON.stringify(node['default'])}`);
  return notes.length === 0 ? '' : ` <small>${escapeHtml(notes.join(', '))}</small>`;
}

function typeOf(node: JsonObject): string {
  const type = node['type'];
  if (typeof type === 'string') return typeof node['format'] === 'string' ? node['format'] : type;
  return list(type).map(String).join(' or ') || 'any';
}

function referenceOf(node: JsonObject): string | undefined {
  const reference = node['$ref'];
  return typeof reference === 'string' ? reference.slice(reference.lastIndexOf('/') + 1) : undefined;
}

/** The members of a JSON object; none for anything else. */
export function members(value: Json | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

export function list(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
