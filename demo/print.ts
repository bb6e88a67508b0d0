/** Lines for people: coloured on a terminal, plain everywhere else (or with NO_COLOR, see no-color.org). */
const coloured = process.stdout.isTTY && !process.env['NO_COLOR'];
const paint = (code: string) => (text: string) => (coloured ? `\u001b[${code}m${text}\u001b[0m` : text);

export const bold = paint('1');
export const dim = paint('2');
export const red = paint('31');
export const green = paint('32');
export const yellow = paint('33');
export const cyan = paint('36');

export function print(text = ''): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  print(`\n${bold(text)}`);
}

/** Seconds since the process began, so that what arrives late is seen to be late. */
export function stamped(text: string): void {
  print(`  ${dim(`${(performance.now() / 1_000).toFixed(3).padStart(7)} s`)}  ${text}`);
}

/** The colour says how well it is going; an unknown word stays plain. */
export function word(state: string): string {
  switch (state) {
    case 'delivered':
    case 'success':
    case 'send':
      return green(state);
    case 'failed':
    case 'failure':
    case 'rejected':
      return red(state);
    case 'retrying':
    case 'retryable':
    case 'suppress':
      return yellow(state);
    default:
      return state;
  }
}
