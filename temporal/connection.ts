import { Client, Connection } from '@temporalio/client';
import type { NativeConnection } from '@temporalio/worker';

export interface TemporalOptions {
  /** host:port of the frontend. */
  address: string;
  namespace: string;
}

export interface TemporalClient {
  client: Client;
  /** True: the client shares a worker's connection, so a workflow it starts may run its first task here at once. */
  eager: boolean;
  /** Fails within `ms` (Unix deadline per call), so that no request ever waits for Temporal. */
  withDeadline<T>(ms: number, call: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** For processes without a worker. Connects at the first call, not now: Temporal may be down. */
export function connectLazily({ address, namespace }: TemporalOptions): TemporalClient {
  const connection = Connection.lazy({ address });
  return {
    client: new Client({ connection, namespace }),
    eager: false,
    withDeadline: (ms, call) => connection.withDeadline(Date.now() + ms, call),
    close: () => connection.close(),
  };
}

/** For a process with workers: one connection for them and for the client. Closing it is the owner's business. */
export function clientOver(connection: NativeConnection, namespace: string): TemporalClient {
  return {
    client: new Client({ connection, namespace }),
    eager: true,
    withDeadline: (ms, call) => connection.withDeadline(Date.now() + ms, call),
    close: async () => {},
  };
}
