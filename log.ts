/**
 * Structured log: one wide JSON line per request, attempt or loop, on standard output unless told otherwise.
 * A line is `{"time","level","process","unit",...fields}`; `organizationId` and `requestId` are fields wherever they are known.
 */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Anything JSON can hold; an `error` becomes {name, message, code, stack, cause}. The four leading names belong to the line itself. */
export type LogFields = Record<string, unknown> & { time?: never; level?: never; process?: never; unit?: never };

/** Writes one line at its level. `unit` is the part that speaks (`request`, `attempt`, `sequencer`), in plain words. MUST NOT throw. */
export type Logger = Readonly<Record<LogLevel, (unit: string, fields: LogFields) => void>>;

type LoggerOptions = {
  /** Which process of the tree this is: `api`, `worker`, `supervisor`. */
  process: string;
  /** Takes one line including its newline. Default: standard output. */
  write?: (line: string) => void;
  /** Lines below this level are not made at all. Default `info`. */
  level?: LogLevel;
};

/** A logger for one process. */
export function createLogger({ process: processName, write = writeToStandardOutput, level = 'info' }: LoggerOptions): Logger {
  const threshold = logLevels.indexOf(level);
  const writerFor = (lineLevel: LogLevel) =>
    logLevels.indexOf(lineLevel) < threshold
      ? () => undefined
      : (unit: string, fields: LogFields) => write(formatLine({ level: lineLevel, process: processName, unit }, fields));
  return Object.freeze({ debug: writerFor('debug'), info: writerFor('info'), warn: writerFor('warn'), error: writerFor('error') });
}

let unwritten = '';

/** Lines of one turn of the event loop go out in one write: a system call for each would cost more than making the line. */
function writeToStandardOutput(line: string): void {
  if (unwritten === '') setImmediate(flushStandardOutput);
  unwritten += line;
}

function flushStandardOutput(): void {
  const lines = unwritten;
  unwritten = '';
  if (lines !== '') process.stdout.write(lines);
}
// What was logged in the last turn must not be lost: it may be the reason for the exit.
process.on('exit', flushStandardOutput);

function formatLine(head: { level: LogLevel; process: string; unit: string }, fields: LogFields): string {
  const time = new Date().toISOString();
  try {
    return `${redact(JSON.stringify({ time, ...head, ...describeErrors(fields) }))}\n`;
  } catch (error) {
    // Circular or otherwise unserializable fields: the line still says that something happened, and why it is short.
    return `${JSON.stringify({ time, ...head, unserializable: error instanceof Error ? error.message : 'unknown' })}\n`;
  }
}

function describeErrors(fields: LogFields): LogFields {
  let described: LogFields | undefined;
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Error || typeof value === 'bigint') {
      described ??= { ...fields };
      described[name] = value instanceof Error ? describeError(value, 0) : value.toString();
    }
  }
  return described ?? fields;
}

function describeError(error: Error, depth: number): Record<string, unknown> {
  const described: Record<string, unknown> = { name: error.name, message: error.message };
  if ('code' in error && (typeof error.code === 'string' || typeof error.code === 'number')) described['code'] = error.code;
  described['stack'] = error.stack;
  if (error.cause instanceof Error && depth < 3) described['cause'] = describeError(error.cause, depth + 1);
  return described;
}

/**
 * The net under every log statement, over the finished line in one pass: fields named like a secret, our API keys (`tsn_`),
 * webhook secrets (`whsec_`), bearer tokens and the password of a URL. Nothing should ever rely on it.
 */
const secretPattern =
  /("(?:password|secret|secrets|secretKeys|apiKey|bootstrapKey|token|authorization|cookie|set-cookie)":)"(?:[^"\\]|\\.)*"|\b(tsn_|whsec_|Bearer )[\w+/=.~-]{8,}|(:\/\/[^\s:@/"\\]*:)[^\s@/"\\]+(?=@)/giu;

function redact(line: string): string {
  return line.replace(secretPattern, (_match, field?: string, prefix?: string, login?: string) => {
    if (field !== undefined) return `${field}"[redacted]"`;
    return `${prefix ?? login ?? ''}[redacted]`;
  });
}
