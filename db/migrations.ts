import { Migration0001RolesAndIdentity } from './migrations/0001-roles-and-identity.ts';
import { Migration0002Audit } from './migrations/0002-audit.ts';
import { Migration0003Delivery } from './migrations/0003-delivery.ts';
import { Migration0004OnCall } from './migrations/0004-on-call.ts';
import { Migration0005Escalation } from './migrations/0005-escalation.ts';
import { Migration0006Preferences } from './migrations/0006-preferences.ts';
import { Migration0007Feed } from './migrations/0007-feed.ts';

/** Every migration in order. One that has been released never changes; a new one goes last (checked by `npm run check`). */
export const migrations = [
  { name: '0001-roles-and-identity', class: Migration0001RolesAndIdentity },
  { name: '0002-audit', class: Migration0002Audit },
  { name: '0003-delivery', class: Migration0003Delivery },
  { name: '0004-on-call', class: Migration0004OnCall },
  { name: '0005-escalation', class: Migration0005Escalation },
  { name: '0006-preferences', class: Migration0006Preferences },
  { name: '0007-feed', class: Migration0007Feed },
];
