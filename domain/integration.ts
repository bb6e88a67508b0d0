/** Providers that may call us about escalations. Those that come later have their names already. */
export const integrationTypes = ['slack', 'pagerduty', 'opsgenie'] as const;
export type IntegrationType = (typeof integrationTypes)[number];

/** Types whose calls are understood. */
export const supportedIntegrations: readonly IntegrationType[] = ['slack'];

/** What a Slack integration knows besides its signing secret: who calls, and the channel (UUID) whose messages carry the buttons. */
export interface SlackIntegrationSettings {
  teamId: string;
  channelId: string | null;
}
