/** What `npm start` says: a few lines for people on a terminal, the same facts as JSON lines for everything else. */

export type Ready = {
  readonly apiUrl: string;
  readonly docsUrl: string;
  /** Absent with a Temporal server of one's own. */
  readonly temporalUiUrl: string | undefined;
  readonly dataDir: string;
  /** Only on the first start, and never one that somebody chose. */
  readonly apiKey: string | undefined;
};

export type Announcer = {
  /** Something that takes long goes on. */
  readonly progress: (message: string) => void;
  readonly ready: (facts: Ready) => void;
  /** One sentence, on standard error. */
  readonly fault: (message: string) => void;
  /** `reason` in a few words: a signal's name, or that the parent is gone. */
  readonly stopping: (reason: string) => void;
};

/** @param terminal people watch standard output */
export function createAnnouncer(terminal: boolean): Announcer {
  return terminal ? createTerminalAnnouncer() : createJsonAnnouncer();
}

function createTerminalAnnouncer(): Announcer {
  const print = (text: string) => process.stdout.write(`${text}\n`);
  return {
    progress: (message) => print(message),
    ready: (facts) => print(renderReady(facts)),
    fault: (message) => process.stderr.write(`${message}\n`),
    stopping: () => print('Stopping: attempts under way may finish; press Ctrl-C again to cut them short.'),
  };
}

function createJsonAnnouncer(): Announcer {
  // Not through the logger: its redaction would hide the API key, which is shown here once and on purpose.
  const print = (level: string, unit: string, fields: object) =>
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, process: 'supervisor', unit, ...fields })}\n`);
  return {
    progress: (message) => print('info', 'progress', { message }),
    ready: (facts) => print('info', 'ready', { ...facts, curl: renderCurl(facts) }),
    fault: (message) => print('error', 'fault', { message }),
    stopping: (reason) => print('info', 'stopping', { reason }),
  };
}

/** A command that posts a first event when pasted into a shell. */
export function renderCurl({ apiUrl, apiKey }: Pick<Ready, 'apiUrl' | 'apiKey'>): string {
  const body = {
    type: 'deployment.failed',
    severity: 'high',
    subject: 'Deployment of checkout failed',
    message: 'Image pull failed on node 3',
  };
  return [
    `curl -sS ${apiUrl}/api/v2/events`,
    `-H "Authorization: Bearer ${apiKey ?? '$TOCSIN_API_KEY'}"`,
    `-H 'Content-Type: application/json'`,
    `-d '${JSON.stringify(body)}'`,
  ].join(' \\\n    ');
}

function renderReady(facts: Ready): string {
  const rows: Array<readonly [string, string]> = [
    ['API', facts.apiUrl],
    ['API docs', facts.docsUrl],
    ...(facts.temporalUiUrl === undefined ? [] : ([['Temporal Web UI', facts.temporalUiUrl]] as const)),
    [
      'API key',
      facts.apiKey === undefined ? '$TOCSIN_API_KEY (shown on the first start only)' : `${facts.apiKey}  (keep it: it is not shown again)`,
    ],
    ['Data and logs', facts.dataDir],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(17)}${value}`).join('\n');
  return `\nTocsin is up.\n\n${table}\n\nPost an event:\n\n  ${renderCurl(facts)}\n`;
}
