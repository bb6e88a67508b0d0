import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import type { IntegrationType, SlackIntegrationSettings } from '../../domain/integration.ts';

/** A provider that may call us. */
export const IntegrationEntity = defineEntity({
  name: 'Integration',
  tableName: 'integration',
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    name: p.text(),
    nameKey: p.text(),
    type: p.text().$type<IntegrationType>(),
    /** Without the secret fields. */
    settings: p.json<SlackIntegrationSettings>().columnType('jsonb'),
    /** Sealed JSON object of the secret fields. */
    secrets: p.blob().nullable(),
    /** Secret field -> its last characters, when it is long enough to show any. */
    secretHints: p.json<Record<string, string | null>>().columnType('jsonb'),
    /** Id of a person there -> UUID of a member. */
    userLinks: p.json<Record<string, string>>().columnType('jsonb'),
    active: p.boolean(),
    version: p.integer(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    deletedAt: p.datetime(3).nullable(),
  },
});
export type IntegrationRow = InferEntity<typeof IntegrationEntity>;
