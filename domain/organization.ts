/** Settings of an organization. An absent one has its default. */
export interface OrganizationSettings {
  /** Receives what would otherwise reach nobody. */
  readonly fallbackEmail?: string;
  /** Which delivery attempts become audit entries: `every` (the default) or only the `terminal` one. */
  readonly auditAttempts?: 'every' | 'terminal';
}
