import { apiKeyEndpoints } from './api-keys.ts';
import { auditLogEndpoints } from './audit-logs.ts';
import { channelEndpoints } from './channels.ts';
import { deliveryEndpoints } from './deliveries.ts';
import { deliveryCommandEndpoints } from './delivery-commands.ts';
import { destinationTestEndpoints } from './destination-tests.ts';
import type { Endpoint } from './endpoint.ts';
import { eventListEndpoints } from './event-list.ts';
import { eventEndpoints } from './events.ts';
import { memberEndpoints } from './members.ts';
import { meEndpoints } from './me.ts';
import { notificationEndpoints } from './notifications.ts';
import { organizationEndpoints } from './organization.ts';
import { projectEndpoints } from './projects.ts';
import { ruleEndpoints } from './rules.ts';
import { serviceAccountEndpoints } from './service-accounts.ts';
import { systemEndpoints } from './system.ts';
import { webhookSecretEndpoints } from './webhook-secrets.ts';
import { webhookEndpoints } from './webhooks.ts';

/**
 * Every endpoint, named: what is not here does not exist. The router tries them in this order, so the busiest come first; the
 * documentation groups them by tag.
 */
export const endpoints: readonly Endpoint[] = [
  ...eventEndpoints,
  ...eventListEndpoints,
  ...ruleEndpoints,
  ...channelEndpoints,
  ...webhookEndpoints,
  ...webhookSecretEndpoints,
  ...destinationTestEndpoints,
  ...deliveryEndpoints,
  ...deliveryCommandEndpoints,
  ...notificationEndpoints,
  ...auditLogEndpoints,
  ...organizationEndpoints,
  ...meEndpoints,
  ...projectEndpoints,
  ...memberEndpoints,
  ...serviceAccountEndpoints,
  ...apiKeyEndpoints,
  ...systemEndpoints,
];
