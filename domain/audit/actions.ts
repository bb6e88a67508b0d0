/**
 * What an action's name says about its entry: verb, category and class follow from the name, so nobody chooses them (audit format,
 * "Actions"). An action with a schema here declares which of its `details` may stand in clear; all other details are private.
 */

export const auditCategories = [
  'authentication',
  'users',
  'projects',
  'deployments',
  'integrations',
  'policies',
  'workflows',
  'settings',
] as const;
export type AuditCategory = (typeof auditCategories)[number];

export const auditClasses = ['iam', 'operational'] as const;
/** `iam` entries concern who may do what: they are kept longer and cannot be switched off. */
export type AuditClass = (typeof auditClasses)[number];

export interface ActionMeaning {
  readonly verb: string;
  readonly category: AuditCategory;
  readonly class: AuditClass;
  /** `<action>/<n>`, or `generic/1` when the action has no schema of its own. */
  readonly schema: string;
  /** Keys of `details` that stand in clear; in no other place do clear details exist. */
  readonly clearDetails: ReadonlySet<string>;
}

interface NounGroup {
  readonly category: AuditCategory;
  readonly class: AuditClass;
  readonly nouns: string;
}

// Two-word nouns win over their first word: `api_key.use` is authentication, `api_key.create` is about users.
const nounGroups: readonly NounGroup[] = [
  { category: 'authentication', class: 'iam', nouns: 'login mfa password sso auth_session api_key.use user.login user.logout' },
  {
    category: 'users',
    class: 'iam',
    nouns: 'user member contact_method invitation role permission group service_account api_key break_glass subject',
  },
  {
    category: 'projects',
    class: 'operational',
    nouns: 'project file environment variable tenant cluster agent host commit manifest',
  },
  { category: 'deployments', class: 'operational', nouns: 'deployment release promotion rollback image drift job' },
  { category: 'integrations', class: 'operational', nouns: 'integration channel webhook delivery notification template' },
  {
    category: 'policies',
    class: 'operational',
    nouns: 'policy rule preference silence escalation_policy policy_test calendar schedule override approval compliance',
  },
  { category: 'workflows', class: 'operational', nouns: 'workflow event escalation digest script service' },
  {
    category: 'settings',
    class: 'iam',
    nouns: 'audit audit_export legal_hold checkpoint log signing_key session_recording insight',
  },
];
const groupOfNoun = new Map(nounGroups.flatMap((group) => group.nouns.split(' ').map((noun) => [noun, group] as const)));

const probe = 'success statusCode errorCode durationMs';
const secretRotation = 'graceSeconds previousKept';
/** How a command on an escalation came, how its giver was known, and whether it was so already. */
const command = 'already path proof';
const changedService = 'environment previousVersion service version';
/** Version 1 of every schema. Clear keys hold scalars that say nothing about a person; a changed meaning needs a new version. */
const clearDetailsOf: Readonly<Record<string, string>> = {
  'api_key.rotate': secretRotation,
  'channel.delete': 'cancelledDeliveries',
  'channel.test': probe,
  'contact_method.send_code': probe,
  'delivery.attempt':
    'attempt bodySha256 durationMs errorCode eventType firing messageId outcome path possibleDuplicate purpose state statusCode',
  'escalation.acknowledge': `${command} extend firing linkId`,
  'escalation.escalate': command,
  'escalation.exhaust': 'reason',
  'escalation.notify': 'dueAt firing purpose reason round scheduledAt tier',
  'escalation.reassign': command,
  'escalation.rebase': `${command} dryRun policyVersion`,
  'escalation.resolve': `${command} reason`,
  'escalation.snooze': `${command} until`,
  'escalation.trigger': 'policyVersion reason',
  'escalation.unacknowledge': command,
  'escalation_policy.create': 'forced',
  'escalation_policy.update': 'forced',
  'event.ingest': 'eventType sent severity suppressed',
  'image.update': changedService,
  'policy_test.create': 'forced',
  'policy_test.replace': 'forced',
  'release.deploy': changedService,
  'webhook.delete': 'cancelledDeliveries',
  'webhook.rotate_secret': secretRotation,
  'webhook.test': probe,
};

const none: ReadonlySet<string> = new Set();
const pattern = /^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){1,3}$/;

/** `noun.verb` of an action as a producer may write it (`noun:verb`); undefined when it is none. */
export function normalizeAction(text: string): string | undefined {
  const action = text.replaceAll(':', '.');
  return action.length <= 128 && pattern.test(action) ? action : undefined;
}

// Bounded: producers may invent any number of actions.
const meanings = new Map<string, ActionMeaning>();
const meaningsKept = 2_000;

/** What a normalized action means. Unknown nouns are `settings`, `operational`. */
export function readAction(action: string): ActionMeaning {
  const known = meanings.get(action);
  if (known !== undefined) return known;
  const [first, second] = action.split('.') as [string, string];
  const group = groupOfNoun.get(`${first}.${second}`) ?? groupOfNoun.get(first);
  const clear = Object.hasOwn(clearDetailsOf, action) ? clearDetailsOf[action] : undefined;
  const meaning: ActionMeaning = {
    verb: action.slice(action.lastIndexOf('.') + 1),
    category: group?.category ?? 'settings',
    class: group?.class ?? 'operational',
    schema: clear === undefined ? 'generic/1' : `${action}/1`,
    clearDetails: clear === undefined ? none : new Set(clear.split(' ')),
  };
  if (meanings.size < meaningsKept) meanings.set(action, meaning);
  return meaning;
}

const controlActions = new Set(
  'audit.enable audit.disable audit.retention_change audit.prune subject.erase checkpoint.roster break_glass.open break_glass.close'.split(
    ' ',
  ),
);

/** Control entries decide what the log itself may lose; they are stored a second time and never pruned. */
export function isControlAction(action: string): boolean {
  return controlActions.has(action) || /^(?:legal_hold|signing_key|log)\./.test(action);
}

const personalTypes = new Set('user member invitation subject contact_method preference'.split(' '));

/** A resource that is a person, or speaks of one: its name and content are private and belong to that person. */
export function isPersonalType(resourceType: string): boolean {
  return personalTypes.has(resourceType);
}

/** A resource that is made of a secret: no value of it may enter the log, only which members changed. */
export function isSecretType(resourceType: string): boolean {
  return resourceType === 'variable' || resourceType === 'credential';
}
