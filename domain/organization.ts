import type { ContactType } from './contact-method.ts';

/** Settings of an organization. An absent one has its default. */
export interface OrganizationSettings {
  /** Receives what would otherwise reach nobody. */
  readonly fallbackEmail?: string;
  /** The channel through which people are reached at their addresses, by its type. UUIDs. */
  readonly senderChannels?: Readonly<Partial<Record<ContactType, string>>>;
  /** How long an open problem of which nothing is heard stays open; `problemTtlRules`. */
  readonly problemTtlMs?: number;
  /** Whether events of types that nobody has described are taken; they merely occur. */
  readonly acceptUnknownTypes?: boolean;
  /** Event types by the `type` attributes of CloudEvents whose producers call them otherwise. */
  readonly foreignTypes?: Readonly<Record<string, string>>;
  /** Which delivery attempts become audit entries: `every` (the default) or only the `terminal` one. */
  readonly auditAttempts?: 'every' | 'terminal';
}
