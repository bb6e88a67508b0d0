import { alertmanagerEndpoints } from './alertmanager.ts';
import { apiKeyEndpoints } from './api-keys.ts';
import { auditLogEndpoints } from './audit-logs.ts';
import { calendarEndpoints } from './calendars.ts';
import { channelEndpoints } from './channels.ts';
import { contactCodeEndpoints } from './contact-codes.ts';
import { contactMethodEndpoints } from './contact-methods.ts';
import { deliveryEndpoints } from './deliveries.ts';
import { deliveryCommandEndpoints } from './delivery-commands.ts';
import { destinationTestEndpoints } from './destination-tests.ts';
import type { Endpoint } from './endpoint.ts';
import { escalationCommandEndpoints } from './escalation-commands.ts';
import { escalationPolicyEndpoints } from './escalation-policies.ts';
import { policyCoverageEndpoints } from './escalation-policy-coverage.ts';
import { policyVersionEndpoints } from './escalation-policy-versions.ts';
import { escalationProofEndpoints } from './escalation-proof.ts';
import { escalationEndpoints } from './escalations.ts';
import { eventListEndpoints } from './event-list.ts';
import { eventTypeEndpoints } from './event-types.ts';
import { eventEndpoints } from './events.ts';
import { integrationEndpoints } from './integrations.ts';
import { memberEndpoints } from './members.ts';
import { meEndpoints } from './me.ts';
import { notificationEndpoints } from './notifications.ts';
import { onCallEndpoints } from './on-call.ts';
import { organizationEndpoints } from './organization.ts';
import { policySimulationEndpoints } from './policy-simulations.ts';
import { policyTestEndpoints } from './policy-tests.ts';
import { preferenceExplainEndpoints } from './preference-explain.ts';
import { preferencePresetEndpoints } from './preference-presets.ts';
import { preferenceEndpoints } from './preferences.ts';
import { projectEndpoints } from './projects.ts';
import { ruleEndpoints } from './rules.ts';
import { scheduleOverrideEndpoints } from './schedule-overrides.ts';
import { scheduleEndpoints } from './schedules.ts';
import { serviceAccountEndpoints } from './service-accounts.ts';
import { silenceEndpoints } from './silences.ts';
import { streamTicketEndpoints } from './stream-tickets.ts';
import { systemEndpoints } from './system.ts';
import { webhookSecretEndpoints } from './webhook-secrets.ts';
import { webhookEndpoints } from './webhooks.ts';

/**
 * Every endpoint, named: what is not here does not exist. The router tries them in this order, so the busiest come first; the
 * documentation groups them by tag.
 */
export const endpoints: readonly Endpoint[] = [
  ...eventEndpoints,
  ...alertmanagerEndpoints,
  ...eventListEndpoints,
  ...eventTypeEndpoints,
  ...ruleEndpoints,
  ...silenceEndpoints,
  ...channelEndpoints,
  ...webhookEndpoints,
  ...webhookSecretEndpoints,
  ...destinationTestEndpoints,
  ...deliveryEndpoints,
  ...deliveryCommandEndpoints,
  ...notificationEndpoints,
  ...streamTicketEndpoints,
  ...escalationEndpoints,
  ...escalationProofEndpoints,
  ...escalationCommandEndpoints,
  ...escalationPolicyEndpoints,
  ...policySimulationEndpoints,
  ...policyTestEndpoints,
  ...policyVersionEndpoints,
  ...policyCoverageEndpoints,
  ...calendarEndpoints,
  ...scheduleEndpoints,
  ...scheduleOverrideEndpoints,
  ...onCallEndpoints,
  ...contactMethodEndpoints,
  ...contactCodeEndpoints,
  ...preferenceEndpoints,
  ...preferenceExplainEndpoints,
  ...preferencePresetEndpoints,
  ...integrationEndpoints,
  ...auditLogEndpoints,
  ...organizationEndpoints,
  ...meEndpoints,
  ...projectEndpoints,
  ...memberEndpoints,
  ...serviceAccountEndpoints,
  ...apiKeyEndpoints,
  ...systemEndpoints,
];
