import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { renderMetrics } from '../metrics.ts';

/** `/healthz` and `/metrics` of a process without an API. Healthy: every Temporal worker runs. */
export async function serveMetrics(
  host: string,
  port: number,
  worker: { isRunning(): boolean },
): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url === '/metrics') {
      void renderMetrics().then(({ contentType, body }) => response.writeHead(200, { 'Content-Type': contentType }).end(body));
    } else if (request.url === '/healthz') {
      const healthy = worker.isRunning();
      response
        .writeHead(healthy ? 200 : 503, { 'Content-Type': 'application/json' })
        .end(JSON.stringify({ status: healthy ? 'ok' : 'stopping' }));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    stop: async () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
