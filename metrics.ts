/**
 * What `/metrics` shows: one prom-client registry per process. Names begin with `tocsin_`, units are in the names, labels are
 * closed sets: never an id, an address or anything a tenant chooses.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export const metrics = new Registry();
const registers = [metrics];

export const httpRequestSeconds = new Histogram({
  name: 'tocsin_http_request_seconds',
  help: 'Time from the request line to the end of the answer.',
  labelNames: ['method', 'route', 'status'] as const,
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  registers,
});

export const eventsTotal = new Counter({
  name: 'tocsin_events_total',
  help: 'Posted events, by outcome: accepted; refused; replayed: the first answer to an idempotency key was given again.',
  labelNames: ['outcome'] as const,
  registers,
});

export const intakeGroupSize = new Histogram({
  name: 'tocsin_intake_group_size',
  help: 'Events that shared one intake transaction.',
  buckets: [1, 2, 5, 10, 20, 50, 100, 1000],
  registers,
});

export const decisionsTotal = new Counter({
  name: 'tocsin_decisions_total',
  help: 'Routing decisions by verdict and reason.',
  labelNames: ['verdict', 'reason'] as const,
  registers,
});

export const attemptSeconds = new Histogram({
  name: 'tocsin_attempt_seconds',
  help: 'Duration of one delivery attempt, by channel type and outcome.',
  labelNames: ['channel_type', 'outcome'] as const,
  buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 50],
  registers,
});

export const attemptLatenessSeconds = new Histogram({
  name: 'tocsin_attempt_lateness_seconds',
  help: 'How long after its due time an attempt began: the first sign of a starved worker.',
  buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300],
  registers,
});

export const deliveriesTotal = new Counter({
  name: 'tocsin_deliveries_total',
  help: 'Deliveries that reached a final state, by channel type and state.',
  labelNames: ['channel_type', 'state'] as const,
  registers,
});

export const runStartsTotal = new Counter({
  name: 'tocsin_run_starts_total',
  help: 'Starts of delivery workflows: eager (on the worker of this process), queued, ended (it ran before), failed.',
  labelNames: ['how'] as const,
  registers,
});

export const runSize = new Histogram({
  name: 'tocsin_run_size',
  help: 'Deliveries that shared one workflow at its start.',
  buckets: [1, 2, 5, 10, 20, 50, 100],
  registers,
});

export const egressBlockedTotal = new Counter({
  name: 'tocsin_egress_blocked_total',
  help: 'Outbound connections refused by the guard, by reason.',
  labelNames: ['reason'] as const,
  registers,
});

export const auditSequencedTotal = new Counter({
  name: 'tocsin_audit_sequenced_total',
  help: 'Audit entries that were given their index.',
  registers,
});

export const loopSeconds = new Histogram({
  name: 'tocsin_loop_seconds',
  help: 'Duration of one pass of a background loop (relay, sequencer, sweep), by outcome.',
  labelNames: ['loop', 'outcome'] as const,
  buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
  registers,
});

export const dueLatenessSeconds = new Gauge({
  name: 'tocsin_due_lateness_seconds',
  help: 'How late the oldest thing is that should have happened by now and did not, by kind; as the watchdog saw it last.',
  labelNames: ['kind'] as const,
  registers,
});

export const loopLagSeconds = new Gauge({
  name: 'tocsin_loop_lag_seconds',
  help: 'Age of the oldest thing a background loop has still to do; 0 when there is none.',
  labelNames: ['loop'] as const,
  registers,
});

/** Adds the process's own figures (memory, event loop delay, garbage collection). Once per process, from its entry file. */
export function collectProcessMetrics(): void {
  collectDefaultMetrics({ register: metrics, prefix: 'tocsin_' });
}

/** Everything registered, in the Prometheus text format, with its content type. */
export async function renderMetrics(): Promise<{ contentType: string; body: string }> {
  return { contentType: metrics.contentType, body: await metrics.metrics() };
}
