/** After the last test file. What a killed run leaves is ended by its guardians. */
export default async function globalTeardown(): Promise<void> {
  await globalThis.testServers?.close();
}
