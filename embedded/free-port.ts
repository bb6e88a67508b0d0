/** Ports of this machine. */
import { createServer } from 'node:net';

/** A port of `host` that was free a moment ago. The kernel hands out ephemeral ports in turn, so a collision soon after is rare, not impossible. */
export async function findFreePort(host = '127.0.0.1'): Promise<number> {
  return (await tryListen(host, 0)) ?? findFreePort(host);
}

/** Whether something could listen on that port now. Throws when the address is not one of this machine's. */
export async function isPortFree(host: string, port: number): Promise<boolean> {
  return (await tryListen(host, port)) !== undefined;
}

function tryListen(host: string, port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : undefined));
    });
  });
}
