import { type Broker, openBroker } from './broker.ts';

declare global {
  var testServers: Broker | undefined;
}

/** Before any test file. Starts no server yet: a run of pure tests never pays for one. */
export default function globalSetup(): void {
  const broker = openBroker((line) => process.stderr.write(`${line}\n`));
  globalThis.testServers = broker;
  process.env['TOCSIN_TEST_BROKER'] = broker.socketPath;
}
