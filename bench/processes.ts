import { readdirSync, readFileSync } from 'node:fs';

/** CPU seconds since its start and resident memory of a process, its children included. */
export interface ProcessFigures {
  cpuSeconds: number;
  residentBytes: number;
}

const ticksPerSecond = 100;
const pageBytes = 4_096;

/** Reads /proc, so only on Linux; undefined elsewhere. */
export function measureTrees(roots: Readonly<Record<string, number>>): Record<string, ProcessFigures> | undefined {
  if (process.platform !== 'linux') return undefined;
  const all = new Map<number, { parent: number } & ProcessFigures>();
  for (const name of readdirSync('/proc')) {
    const figures = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    if (figures !== undefined) all.set(Number(name), figures);
  }
  const sum = (root: number): ProcessFigures => {
    const own = all.get(root);
    const total = { cpuSeconds: own?.cpuSeconds ?? 0, residentBytes: own?.residentBytes ?? 0 };
    for (const [pid, { parent }] of all) {
      if (parent !== root) continue;
      const child = sum(pid);
      total.cpuSeconds += child.cpuSeconds;
      // Shared memory would count once per PostgreSQL backend.
      total.residentBytes = Math.max(total.residentBytes, child.residentBytes);
    }
    return total;
  };
  return Object.fromEntries(Object.entries(roots).map(([name, pid]) => [name, sum(pid)]));
}

function readProcess(pid: number): ({ parent: number } & ProcessFigures) | undefined {
  try {
    // After the command's name, which is in parentheses and may hold anything: state, parent, ... utime and stime are fields 14 and 15.
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // cutime and cstime hold children that have ended: backends come and go.
    const ticks = Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]);
    return { parent: Number(fields[1]), cpuSeconds: ticks / ticksPerSecond, residentBytes: Number(fields[21]) * pageBytes };
  } catch {
    return undefined;
  }
}
