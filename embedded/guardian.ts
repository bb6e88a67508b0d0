/**
 * A small process between the supervisor and one server. It leads a session of its own, so a terminal's Ctrl-C does not reach the
 * server before the workers are done, and it ends the server as soon as its channel to the supervisor closes, which the kernel does
 * however the supervisor dies. Run by guarded.ts only: `node guardian.ts <GuardedCommand as JSON>`.
 *
 * When the guardian itself is killed with -9: where setpriv (util-linux) exists, the kernel sends the server its stop signal; the
 * supervisor, if alive, ends the server in any case; and the next start ends what processes.json names.
 */
import { spawn } from 'node:child_process';
import type { GuardedCommand, GuardianMessage } from './guarded.ts';

const command = JSON.parse(process.argv[2] ?? '') as GuardedCommand;
const [file, args] =
  command.parentDeathSignalTool === undefined ? [command.file, command.args] : bindToThisProcess(command.parentDeathSignalTool);
const child = spawn(file, args, {
  stdio: ['ignore', 'inherit', 'inherit'],
  cwd: command.cwd,
  env: command.env,
  ...(command.account !== undefined && { uid: command.account.uid, gid: command.account.gid }),
});

child.once('spawn', () => report({ kind: 'started', pid: child.pid! }));
child.once('error', (error) => report({ kind: 'failed', message: error.message }, 1));
child.once('exit', (code, signal) => report({ kind: 'exited', code, signal }, 0));

let stopping = false;
process.once('disconnect', stop);
process.on('message', stop);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);

/** One polite signal, then SIGKILL after the grace time. */
function stop(): void {
  if (stopping) return;
  stopping = true;
  child.kill(command.stopSignal);
  setTimeout(() => child.kill('SIGKILL'), command.graceMs).unref();
}

function report(message: GuardianMessage, exitCode?: number): void {
  if (exitCode !== undefined) process.exitCode = exitCode;
  const leave = () => exitCode !== undefined && process.exit(exitCode);
  if (process.connected) process.send?.(message, leave);
  else leave();
}

/**
 * setpriv and the shell replace themselves by the next program, so the pid is the server's own. The shell closes the gap in which the
 * guardian dies before setpriv has asked for the signal: its parent is another process by then, and it starts nothing.
 */
function bindToThisProcess(setpriv: string): [string, readonly string[]] {
  const onlyAsChild = '[ "$PPID" = "$0" ] && exec "$@"';
  const signal = command.stopSignal.replace(/^SIG/, '');
  return [setpriv, ['--pdeathsig', signal, '--', 'sh', '-c', onlyAsChild, `${process.pid}`, command.file, ...command.args]];
}
