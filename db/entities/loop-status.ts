import { defineEntity, p } from '@mikro-orm/core';

/** The last round of each loop (relay, sequencer, retention …), for system health. */
export const LoopStatusEntity = defineEntity({
  name: 'LoopStatus',
  tableName: 'loop_status',
  properties: {
    name: p.text().primary(),
    workerId: p.uuid().nullable(),
    lastRunAt: p.datetime(3),
    detail: p.json<Record<string, unknown>>().columnType('jsonb'),
  },
});
