/** The side of a process that `npm start` spawned: telling its supervisor that it is ready, or why it cannot be; ending with it. */

/** What such a process sends over its IPC channel. */
export type SupervisedMessage =
  | { readonly ready: true; readonly apiUrl: string }
  | { readonly fault: string }
  | { readonly migrated: true; readonly created: boolean };

/** Sends a message and resolves when it is out. Does nothing in a process that was not spawned so. */
export function tellSupervisor(message: SupervisedMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, () => resolve());
  });
}

/** Calls `stop` once when the supervisor is gone, however it went; never in a process that has none. */
export function whenSupervisorIsGone(stop: () => void): void {
  if (process.send === undefined) return;
  if (process.connected) process.once('disconnect', stop);
  else stop();
}
