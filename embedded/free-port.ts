/** Ports of this machine. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below what the systems give to outgoing connections (Linux: from 32768). A port from that range may be taken by any client in the
 * moment before its server listens, and a client that keeps trying a dead server's port there can end up connected to itself.
 */
const range = { from: 16_000, to: 32_000 };

/** A port on which something can listen now. */
export async function findFreePort(host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = randomInt(range.from, range.to);
    if (await isPortFree(host, port)) return port;
  }
}

/** Whether something could listen on that port now. Rejects when the address is not one of this machine's. */
export function isPortFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
