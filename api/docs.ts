import { escapeHtml, exampleOf, list, members, renderSchema, renderWords, resolveSchema } from './docs-schema.ts';
import { docsScript, docsStyle } from './docs-style.ts';
import type { Json, JsonObject } from './openapi.ts';

/** The readable form of an OpenAPI description: one HTML page that loads nothing from anywhere. */
export function renderDocs(description: JsonObject): string {
  const page = readDescription(description);
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${page.title} API</title>
        <style>
          ${raw(docsStyle)}
        </style>
      </head>
      <body>
        <nav>
          <header>
            <strong>${page.title}</strong> <span>API v${page.version}</span>
            <input id="find" type="search" placeholder="Find an operation" aria-label="Find an operation" />
          </header>
          ${page.tags.map(
            ({ name, operations }) =>
              html`<section>
                <h2>${name}</h2>
                ${operations.map(
                  ({ id, method, path }) => html`<a href="#${id}"><b class="${method}">${method}</b><span>${path}</span></a>`,
                )}
              </section>`,
          )}
          <section>
            <h2>Reference</h2>
            <a href="#schemas"><span>Schemas</span></a>
            <a href="openapi.json"><span>openapi.json</span></a>
          </section>
        </nav>
        <main>
          <h1>${page.title} API</h1>
          <p class="lead">${page.description}</p>
          ${raw(renderConventions())}
          ${page.tags.map(
            ({ name, operations }) =>
              html`<section class="tag">
                <h2>${name}</h2>
                ${operations.map((operation) => renderOperation(operation, page))}
              </section>`,
          )}
          <section class="tag" id="schemas">
            <h2>Schemas</h2>
            ${Object.entries(page.schemas).map(
              ([name, schema]) =>
                html`<details class="schema" id="schema-${name}">
                  <summary><code>${name}</code></summary>
                  ${raw(renderSchema(schema))}
                </details>`,
            )}
          </section>
        </main>
        <script>
          ${raw(docsScript)};
        </script>
      </body>
    </html>`.text;
}

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly definition: JsonObject;
}

interface Page {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  readonly server: string;
  readonly tags: ReadonlyArray<{ name: string; operations: Operation[] }>;
  readonly schemas: JsonObject;
}

function readDescription(description: JsonObject): Page {
  const info = members(description['info']);
  const operations = Object.entries(members(description['paths'])).flatMap(([path, methods]) =>
    Object.entries(members(methods)).map(([method, definition]) => {
      const operation = members(definition);
      return { id: string(operation['operationId']), method, path, definition: operation };
    }),
  );
  return {
    title: string(info['title']),
    version: string(info['version']),
    description: string(info['description']),
    server: string(members(list(description['servers'])[0])['url']),
    tags: list(description['tags']).map((tag) => {
      const name = string(members(tag)['name']);
      return { name, operations: operations.filter(({ definition }) => list(definition['tags']).includes(name)) };
    }),
    schemas: members(members(description['components'])['schemas']),
  };
}

function renderConventions(): string {
  return html`<section class="conventions">
    <p>
      <b>Authentication.</b> <code>Authorization: Bearer tsn_…</code>. The badge of an operation is the permission that its key needs.
      <b>Errors</b> are <code>application/problem+json</code> with a stable <code>code</code>; a <code>422</code> lists every violation.
      <b>Lists</b> answer <code>{data, nextCursor}</code>; pass <code>nextCursor</code> as <code>cursor</code> for the next page.
      <b>Changes</b> answer with <code>Tocsin-Audit-Id</code>, the id of their entry in the audit log. <b>Times</b> are RFC 3339, durations
      ISO 8601, ids opaque.
    </p>
  </section>`.text;
}

function renderOperation({ id, method, path, definition }: Operation, page: Page): Html {
  const parameters = list(definition['parameters']).map(members);
  const body = members(members(definition['requestBody'])['content']);
  const responses = Object.entries(members(definition['responses']));
  return html`<article id="${id}" data-find="${`${id} ${path} ${string(definition['summary'])}`.toLowerCase()}">
    <h3>
      <b class="${method}">${method}</b> <code>${page.server}${path}</code>
      <span class="permission">${string(definition['x-permission'])}</span>
    </h3>
    <p class="summary">${string(definition['summary'])}</p>
    ${definition['description'] === undefined ? '' : html`<p>${raw(renderWords(string(definition['description'])))}</p>`}
    <div class="columns">
      <div>
        ${parameters.length === 0 ? '' : renderParameters(parameters)}
        ${Object.entries(body).map(
          ([mediaType, content]) =>
            html`<h4>Body <small>${mediaType}</small></h4>
              ${raw(renderSchema(resolveSchema(members(content)['schema'] ?? {}, page.schemas)))}`,
        )}
        <h4>Answers</h4>
        ${responses.filter(([status]) => status < '400').map(([status, response]) => renderAnswer(status, members(response), page.schemas))}
        <p class="failures">
          ${responses.filter(([status]) => status >= '400').map(([status]) => html`<span class="status failure">${status}</span> `)}
        </p>
      </div>
      <figure>
        <figcaption>curl <button type="button" class="copy">Copy</button></figcaption>
        <pre>${renderCurl({ id, method, path, definition }, page)}</pre>
      </figure>
    </div>
  </article>`;
}

function renderParameters(parameters: readonly JsonObject[]): Html {
  return html`<h4>Parameters</h4>
    <dl>
      ${parameters.map(
        (parameter) =>
          html`<dt>
              <code>${string(parameter['name'])}</code>
              <small>${string(parameter['in'])}${parameter['required'] === true ? ', required' : ''}</small>
            </dt>
            <dd>${raw(renderSchema(parameter['schema'] ?? {}))} ${raw(renderWords(string(parameter['description'])))}</dd>`,
      )}
    </dl>`;
}

function renderAnswer(status: string, response: JsonObject, schemas: JsonObject): Html {
  const schema = Object.values(members(response['content'])).map((content) => members(content)['schema'] ?? {})[0];
  const line = html`<span class="status success">${status}</span> ${raw(renderWords(string(response['description'])))}`;
  if (schema === undefined) return html`<div class="answer">${[line]}</div>`;
  return html`<details class="answer">
    <summary>${[line]}</summary>
    ${raw(renderSchema(resolveSchema(schema, schemas)))}
  </details>`;
}

function renderCurl({ method, path, definition }: Operation, page: Page): string {
  const parameters = list(definition['parameters']).map(members);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const parameter = parameters.find((each) => each['name'] === name);
    return string(parameter?.['example'] ?? name);
  });
  const [mediaType, content] = Object.entries(members(members(definition['requestBody'])['content']))[0] ?? [];
  const lines = [
    `curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}"$TOCSIN_URL${page.server}${filled}"`,
    `-H "Authorization: Bearer $TOCSIN_API_KEY"`,
  ];
  if (mediaType !== undefined) {
    const example = JSON.stringify(exampleOf(members(content)['schema'] ?? {}, page.schemas), null, 2);
    lines.push(`-H "Content-Type: ${mediaType}"`, `-d '${example.replaceAll("'", "'\\''")}'`);
  }
  return lines.join(' \\\n  ');
}

/** Markup that is safe to insert as it is. */
interface Html {
  readonly text: string;
}

function raw(text: string): Html {
  return { text };
}

/** A template whose values are escaped unless they are markup themselves. */
function html(strings: TemplateStringsArray, ...values: ReadonlyArray<string | Html | readonly Html[]>): Html {
  const insert = (value: string | Html | readonly Html[]): string => {
    if (typeof value === 'string') return escapeHtml(value);
    return 'text' in value ? value.text : value.map(insert).join('');
  };
  return { text: strings.reduce((text, part, index) => text + insert(values[index - 1] ?? '') + part) };
}

function string(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}
