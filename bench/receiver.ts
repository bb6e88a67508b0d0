/** The endpoint that is delivered to, in a process of its own: counts, and measures how old each event is. Asked by IPC. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  count: number;
  /** Milliseconds from the producer's post to the arrival here, since the last question. */
  p50Ms: number;
  p99Ms: number;
  /** Unix milliseconds of the last arrival. */
  lastAt: number;
}

let count = 0;
let lastAt = 0;
let ages: number[] = [];

const server = createServer((request, response) => {
  lastAt = performance.timeOrigin + performance.now();
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    count += 1;
    const postedAt = /"postedAt":([\d.]+)/.exec(text)?.[1];
    if (postedAt !== undefined) ages.push(lastAt - Number(postedAt));
    response.end('ok');
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }));

process.on('message', () => {
  ages.sort((a, b) => a - b);
  const at = (share: number): number => ages[Math.min(ages.length - 1, Math.floor(ages.length * share))] ?? 0;
  const received: Received = { count, p50Ms: at(0.5), p99Ms: at(0.99), lastAt };
  ages = [];
  process.send!(received);
});
