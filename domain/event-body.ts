import type { AcceptedEvent } from './event.ts';
import { toWireId } from './id.ts';

/**
 * The body that every webhook gets of an event: UTF-8 JSON in this key order, without white space. Rendered once per event; the
 * producer's `data` goes in as the text it was posted as, so that number text and key order survive.
 */
export function renderEventBody(event: AcceptedEvent): Buffer {
  let body = `{"id":"${toWireId('event', event.id)}","type":"${event.type}","timestamp":"${new Date(event.occurredAt).toISOString()}"`;
  body += `,"org_id":"${toWireId('organization', event.organizationId)}"`;
  body += event.projectId === null ? ',"project_id":null' : `,"project_id":"${toWireId('project', event.projectId)}"`;
  body += `,"tenant_id":${JSON.stringify(event.tenantId)},"severity":"${event.severity}"`;
  body += `,"source":${JSON.stringify(event.source)},"subject":${JSON.stringify(event.subject)},"data":${event.data ?? '{}'}`;
  if (event.message !== null) body += `,"message":${JSON.stringify(event.message)}`;
  if (Object.keys(event.labels).length > 0) body += `,"labels":${JSON.stringify(event.labels)}`;
  if (event.links.length > 0) body += `,"links":${JSON.stringify(event.links)}`;
  if (event.resource !== null) body += `,"resource":${JSON.stringify(event.resource)}`;
  if (event.actor !== null) body += `,"actor":${JSON.stringify(event.actor)}`;
  if (event.environment !== null) body += `,"environment":${JSON.stringify(event.environment)}`;
  if (event.gitCommitSha !== null) body += `,"git_commit_sha":${JSON.stringify(event.gitCommitSha)}`;
  return Buffer.from(`${body}}`);
}
