import type { SecretBox, SecretPlace } from './secrets.ts';

/** The secret fields of an integration, sealed as a JSON object: who seals and who checks signatures must name the same place. */
function placeOf(integration: { orgId: string; id: string }): SecretPlace {
  return { organizationId: integration.orgId, table: 'integration', row: integration.id, field: 'secrets' };
}

export function sealIntegrationSecrets(
  integration: { orgId: string; id: string },
  secrets: Readonly<Record<string, string>>,
  box: SecretBox,
): Buffer {
  return box.seal(JSON.stringify(secrets), placeOf(integration));
}

/** @throws SecretUnavailableError when no key of this process opens them */
export function openIntegrationSecrets(
  integration: { orgId: string; id: string; secrets?: Uint8Array | null | undefined },
  box: SecretBox,
): Record<string, string> {
  if (!integration.secrets) return {};
  return JSON.parse(box.open(integration.secrets, placeOf(integration))) as Record<string, string>;
}
