import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { inOrganization } from '../../db/tenant.ts';
import { parseWireId } from '../../domain/id.ts';
import { withTemporal } from '../support/servers.ts';
import { startInstance, type Instance } from './instance.ts';

const describeWithTemporal = await withTemporal();

describeWithTemporal('a destination whose secret does not open', () => {
  let tocsin: Instance;
  beforeAll(async () => {
    tocsin = await startInstance({ TOCSIN_RETRY_STANDARD: 'PT0S,PT0.2S' });
  });
  afterAll(() => tocsin.stop());

  test('gets nothing unsigned: the attempt waits for the key, and the next one after it is back is sent', async () => {
    const hook = await tocsin.hook({ types: ['job.failed'] });
    const { uuid } = parseWireId(hook.id)!;
    const setSecret = async (secret: Buffer) =>
      inOrganization(tocsin.api.orm, tocsin.organization.id, async (em) => {
        const { rows } = await sql<{ secret: Buffer }>`with before as (select secret from webhook where id = ${uuid})
          update webhook set secret = ${secret}, version = version + 1 from before where id = ${uuid} returning before.secret`.execute(
          em.getKysely(),
        );
        return rows[0]!.secret;
      });
    const good = await setSecret(Buffer.from('not sealed by any key'));
    const event = await tocsin.post({ type: 'job.failed' });
    const failed = await tocsin.delivery(event);
    expect(failed).toMatchObject({ status: 'failed', errorCode: 'secret_unavailable', totalAttempts: 2 });
    expect(failed['attempts'][0]).toMatchObject({ statusCode: null, requestBytes: null, outcome: 'retryable' });
    expect(tocsin.receiver.arrivalsAt(hook.path)).toEqual([]);

    await setSecret(good);
    await tocsin.call('POST', `/deliveries/${failed['id']}/retry`);
    await tocsin.receiver.waitForArrivals(1, { path: hook.path });
    expect(await tocsin.delivery(event)).toMatchObject({ status: 'delivered', totalAttempts: 3 });
  });
});
