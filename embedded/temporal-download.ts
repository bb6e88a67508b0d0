/**
 * Lets the Temporal SDK download the CLI: `node temporal-download.ts <directory> <version>`. A process of its own, because the SDK
 * starts what it has fetched, brings a native runtime along, and gives no way to stop a download that hangs.
 */
import { TestWorkflowEnvironment } from '@temporalio/testing';

const [downloadDir = '', version = ''] = process.argv.slice(2);
// Without a version a web service would decide, and a copy past its time to live (a day by default) would be fetched again.
const environment = await TestWorkflowEnvironment.createLocal({
  server: { executable: { type: 'cached-download', downloadDir, version, ttl: '365d' } },
});
await environment.teardown();
