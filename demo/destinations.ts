/** Sets up, through the public API, who is told of what. */
import type { Client } from './client.ts';
import type { Receivers } from './receivers.ts';

export interface Destinations {
  readonly projectId: string;
  /** Names by id, for people. */
  readonly names: ReadonlyMap<string, string>;
  readonly flakyId: string;
  readonly archiveId: string;
  /** A channel that mails go out by, and one that everybody reads. */
  readonly mailId: string;
  readonly slackId: string;
}

export async function createDestinations(api: Client, receivers: Receivers): Promise<Destinations> {
  const names = new Map<string, string>();
  const create = async (path: string, body: { name: string } & Record<string, unknown>): Promise<string> => {
    const { id } = await api.post<{ id: string }>(path, body, 201);
    names.set(id, body.name);
    return id;
  };
  const projectId = await create('/projects', { name: 'api-platform' });

  await create('/webhooks', {
    name: 'pipeline',
    url: receivers.pipelineUrl,
    eventTypes: ['release.*', 'deployment.*', 'rollback.*', 'promotion.*', 'compliance.*'],
  });
  const flakyId = await create('/webhooks', { name: 'on-call', url: receivers.flakyUrl, eventTypes: ['deployment.failed'] });
  const archiveId = await create('/webhooks', { name: 'archive', url: receivers.archiveUrl, eventTypes: ['break_glass.*'] });
  await create('/webhooks', { name: 'old pager', url: receivers.pipelineUrl, eventTypes: ['host.*'], active: false });

  const mailId = await create('/channels', {
    name: 'security mail',
    type: 'email',
    settings: {
      host: receivers.smtp.host,
      port: receivers.smtp.port,
      security: 'none',
      from: 'Tocsin <tocsin@example.com>',
      to: ['security@example.com'],
    },
  });
  const slackId = await create('/channels', { name: '#sre', type: 'slack', settings: { webhookUrl: receivers.slackUrl } });

  await create('/rules', { name: 'security by mail', categories: ['security', 'governance'], minSeverity: 'medium', channelIds: [mailId] });
  await create('/rules', {
    name: 'trouble in production',
    minSeverity: 'high',
    matchers: [{ key: 'environment', op: '=', value: 'production' }],
    channelIds: [slackId],
  });
  await create('/rules', { name: 'drift and hosts', types: ['drift.*', 'host.*'], channelIds: [slackId] });
  return { projectId, names, flakyId, archiveId, mailId, slackId };
}
