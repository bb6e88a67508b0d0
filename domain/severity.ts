/** Worst first. */
export const severities = ['critical', 'high', 'medium', 'low', 'info'] as const;
export type Severity = (typeof severities)[number];

/** Other scales that producers use. */
const aliases: Readonly<Record<string, Severity>> = {
  fatal: 'critical',
  p1: 'critical',
  error: 'high',
  p2: 'high',
  warning: 'medium',
  warn: 'medium',
  p3: 'medium',
  notice: 'low',
  p4: 'low',
  ok: 'info',
  debug: 'info',
  p5: 'info',
};

/** The severity that a producer's word means, in any case; undefined when there is none. */
export function findSeverity(word: string): Severity | undefined {
  const lower = word.toLowerCase();
  return severities.find((severity) => severity === lower) ?? (Object.hasOwn(aliases, lower) ? aliases[lower] : undefined);
}

/** Whether `severity` is as bad as `floor`, or worse. */
export function isAtLeast(severity: Severity, floor: Severity): boolean {
  return severities.indexOf(severity) <= severities.indexOf(floor);
}
