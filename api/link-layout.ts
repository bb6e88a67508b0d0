import { createHash } from 'node:crypto';
import type { EscalationStatus } from '../domain/escalation-state.ts';
import { type Severity, severities } from '../domain/severity.ts';
import { severityStyles } from '../domain/message.ts';
import { escapeHtml } from './docs-schema.ts';
import type { Reply } from './serve.ts';

/** A page about one escalation, for somebody who followed a link and is signed in nowhere. */
export interface LinkPage {
  readonly status: number;
  readonly title: string;
  /** What happened, or what is asked; sentences. */
  readonly lead: string;
  /** Absent: the reader is not to know, or nobody does. */
  readonly escalation?: ShownEscalation | undefined;
  /** The name on the button; absent: there is nothing to do. */
  readonly button?: string | undefined;
  /** In small print below. */
  readonly note?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ShownEscalation {
  readonly subject: string;
  readonly severity: Severity;
  readonly status: EscalationStatus;
  readonly facts: ReadonlyArray<readonly [name: string, value: string]>;
}

const statusWords: Readonly<Record<EscalationStatus, string>> = {
  triggered: 'Not acknowledged',
  acknowledged: 'Acknowledged',
  snoozed: 'Snoozed',
  exhausted: 'Not acknowledged, and everybody has been told',
  resolved: 'Resolved',
};

/** Nothing but this page's own style may load or run, and its form goes back to where it came from. */
export function replyWithPage(page: LinkPage): Reply {
  return {
    status: page.status,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Cache-Control': 'no-store',
      'Content-Security-Policy': `default-src 'none'; style-src '${styleHash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
      'Referrer-Policy': 'no-referrer',
      'X-Content-Type-Options': 'nosniff',
      'X-Robots-Tag': 'noindex, nofollow, noarchive',
      ...page.headers,
    },
    body: renderPage(page),
  };
}

function renderPage({ title, lead, escalation, button, note }: LinkPage): string {
  // The form has no action: it goes to the address of the page, so that the token stands in no markup.
  const form =
    button === undefined
      ? ''
      : `<form method="post"><input type="hidden" name="confirm" value="1"><button type="submit">${escapeHtml(button)}</button></form>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(lead)}</p>
${escalation === undefined ? '' : renderEscalation(escalation)}
${form}
${note === undefined ? '' : `<p class="note">${escapeHtml(note)}</p>`}
</main>
<footer>Tocsin</footer>
</body>
</html>
`;
}

function renderEscalation({ subject, severity, status, facts }: ShownEscalation): string {
  const all = [['Severity', severityWord(severity)], ['State', statusWords[status]], ...facts] as const;
  const rows = all.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return `<section class="${severity}" aria-label="The escalation">
<h2>${escapeHtml(subject)}</h2>
<dl>${rows.join('')}</dl>
</section>`;
}

function severityWord(severity: Severity): string {
  return severity[0]!.toUpperCase() + severity.slice(1);
}

const stripes = severities.map((severity) => `.${severity}{border-left-color:${severityStyles[severity].color}}`).join('');
const style = `
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#57606c;--page:#f3f4f6;--card:#fff;--soft:#f7f8f9;--line:#d9dde2;--action:#1b1f24;--on-action:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebef;--dim:#a2acb9;--page:#0f1215;--card:#181c21;--soft:#1f242a;--line:#343b44;--action:#e8ebef;--on-action:#14171b}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;min-height:100svh;display:grid;grid-template-rows:1fr auto 2fr;justify-items:center;padding:1.25rem;color:var(--ink);background:var(--page);font:1.0625rem/1.55 system-ui,sans-serif}
main{grid-row:2;width:100%;max-width:32rem;padding:1.75rem;background:var(--card);border:1px solid var(--line);border-radius:14px}
h1{margin:0;font-size:1.5rem;line-height:1.25;text-wrap:balance}
h2{margin:0 0 .75rem;font-size:1.125rem;line-height:1.35;overflow-wrap:anywhere}
p{margin:.6rem 0 0;overflow-wrap:anywhere}
section{margin-top:1.25rem;padding:1rem 1.1rem;background:var(--soft);border-left:5px solid var(--line);border-radius:4px 10px 10px 4px}
${stripes}
dl{margin:0;display:grid;gap:.35rem;font-size:.9375rem}
dl div{display:grid;grid-template-columns:6rem 1fr;gap:.75rem}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
button{width:100%;min-height:3.25rem;margin-top:1.5rem;padding:.75rem 1rem;color:var(--on-action);background:var(--action);border:0;border-radius:10px;font:600 1.0625rem/1.3 system-ui,sans-serif;cursor:pointer}
button:hover{opacity:.88}
button:focus-visible{outline:3px solid #1f6feb;outline-offset:3px}
.note{margin-top:1rem;color:var(--dim);font-size:.9375rem}
footer{grid-row:3;padding-top:1rem;color:var(--dim);font-size:.875rem}
@media (max-width:26rem){body{padding:.75rem}main{padding:1.25rem}}
`;
const styleHash = `sha256-${createHash('sha256').update(style).digest('base64')}`;
