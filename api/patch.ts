/** Switches a destination on or off by a person's wish; switching on forgets why it was off. */
export function switchActive(
  row: { active: boolean; disabledReason?: string | null | undefined; disabledAt?: Date | null | undefined },
  active: boolean,
  now: Date,
): void {
  if (row.active === active) return;
  row.active = active;
  row.disabledReason = active ? null : 'user';
  row.disabledAt = active ? null : now;
}

/** The members that a PATCH gives; what is absent stays as it is. */
export function definedOnly<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** An object as a PATCH leaves it: what is absent stays, null takes away. */
export function mergePatch<T extends object>(current: T, patch: { readonly [K in keyof T]?: T[K] | null | undefined }): T {
  const merged = Object.entries({ ...current, ...definedOnly(patch) }).filter(([, value]) => value !== null);
  return Object.fromEntries(merged) as T;
}
