/** Ending with whoever started us: a supervisor whose terminal, npm or test was killed must not live on. */
import { readFileSync } from 'node:fs';

const intervalMs = 500;

/**
 * Calls `gone` once when the parent process has died. Under npm the parent is a shell that outlives a killed npm, so there the shell's
 * own parent is watched as well (where /proc shows it). Without a parent to lose (a container's first process) nothing is watched.
 */
export function watchParent(startedByNpm: boolean, gone: () => void): void {
  const parent = process.ppid;
  if (parent <= 1) return;
  const grandparent = startedByNpm ? readParentOf(parent) : undefined;
  const timer = setInterval(() => {
    const orphaned = process.ppid !== parent || (grandparent !== undefined && readParentOf(parent) !== grandparent);
    if (!orphaned) return;
    clearInterval(timer);
    gone();
  }, intervalMs);
  timer.unref();
}

function readParentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
