import { z } from 'zod';
import { idTimeMs, toWireId } from '../domain/id.ts';
import type { Classification } from '../domain/delivery.ts';
import type { SmtpResponse } from '../domain/outbound.ts';
import { classifyFault } from '../domain/webhook.ts';
import { defineChannel, type SettingsIssue } from './channel.ts';
import { loadTemplate } from './templates/render.ts';
import { cutText, oneLine } from './text.ts';

interface EmailSettings {
  host: string;
  port: number;
  security: 'starttls' | 'tls' | 'none';
  username?: string | undefined;
  password?: string | undefined;
  from: string;
  replyTo?: string | undefined;
  to?: string[] | undefined;
}

/** `local@domain` or `Name <local@domain>`; ASCII, so that no server needs SMTPUTF8, except for the name. */
const mailbox =
  /^(?:(?<name>[^<>"\\\p{Cc}]{1,128}) <)?(?<address>[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?<end>>)?$/iu;

function isMailbox(text: string): boolean {
  const groups = mailbox.exec(text)?.groups;
  return groups !== undefined && (groups['name'] === undefined) === (groups['end'] === undefined);
}

const mailboxSchema = z
  .string()
  .max(320)
  .refine(isMailbox, { message: 'must be an address, or a name and <address>', params: { code: 'invalid_address' } });
/** CR, LF and NUL would end a command or a header line. */
const credentialSchema = z
  .string()
  .min(1)
  .max(1_024)
  .refine((text) => !/[\r\n\0]/.test(text), { message: 'must not contain line breaks', params: { code: 'invalid_text' } });

const settingsSchema = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).default(587),
  security: z.enum(['starttls', 'tls', 'none']).default('starttls'),
  username: credentialSchema.optional(),
  password: credentialSchema.optional(),
  from: mailboxSchema,
  replyTo: mailboxSchema.optional(),
  to: z.array(mailboxSchema).min(1).max(50).optional(),
}) satisfies z.ZodType<EmailSettings>;

/** The longest subject most clients show; the severity in front of it stays. */
const subjectLimit = 256;

const templates = {
  subject: loadTemplate('email', 'subject', 'line'),
  text: loadTemplate('email', 'text', 'plain'),
  html: loadTemplate('email', 'html', 'html'),
};

/** E-mail by the organization's own SMTP server, one session per message. */
export const emailChannel = defineChannel<EmailSettings>({
  type: 'email',
  settingsSchema,
  secretFields: ['password'],
  validate({ host, port, username, password }, policy) {
    const issues: SettingsIssue[] = [];
    const fault = policy.checkMailHost(host, port);
    if (fault !== undefined)
      issues.push({ path: [fault.reason === 'blocked_port' ? 'port' : 'host'], code: fault.reason, message: fault.detail });
    if (username === undefined && password !== undefined)
      issues.push({ path: ['username'], code: 'required', message: 'is required with a password' });
    if (username !== undefined && password === undefined)
      issues.push({ path: ['password'], code: 'required', message: 'is required with a username' });
    return issues;
  },
  addressedTo: (settings, address) => ({ ...settings, to: [address] }),
  secretsOf: ({ password }) => (password === undefined ? [] : [password]),
  render(view, settings, { deliveryId, providerRef }) {
    const recipients = settings.to ?? [];
    if (recipients.length === 0) {
      return {
        verdict: { outcome: 'rejected', errorCode: 'config_invalid', detail: 'the channel has no recipients', scope: 'destination' },
      };
    }
    const reached = acceptedBefore(providerRef);
    const to = recipients.filter((recipient) => !reached.includes(addressOf(recipient)));
    if (to.length === 0) return { verdict: { outcome: 'delivered', detail: 'earlier attempts reached every recipient', providerRef } };
    const subject = cutText(templates.subject(view), subjectLimit);
    const domain = addressOf(settings.from).split('@')[1] ?? '';
    // a root that no mail has: readers still put all messages about one problem into one thread
    const root = `<${oneLine(view.threadKey).replaceAll(/[^A-Za-z0-9.-]/g, '.')}@${domain}>`;
    const replyTo = view.escalation?.replyTo ?? null;
    const inReplyTo = replyTo === null ? undefined : `<${replyTo}@${domain}>`;
    return {
      truncated: subject.cut,
      request: {
        kind: 'smtp',
        server: {
          host: settings.host,
          port: settings.port,
          security: settings.security,
          username: settings.username,
          password: settings.password,
        },
        from: settings.from,
        replyTo: settings.replyTo,
        to,
        subject: subject.text,
        text: templates.text(view),
        html: templates.html(view),
        messageId: `<${toWireId('delivery', deliveryId)}@${domain}>`,
        references: inReplyTo === undefined ? root : `${root} ${inReplyTo}`,
        inReplyTo,
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Tocsin-Event': view.event.id },
        dateMs: idTimeMs(deliveryId),
      },
    };
  },
  classify(response, _settings, { providerRef }) {
    switch (response.kind) {
      case 'fault':
        return classifyFault(response);
      case 'smtp':
        return classifySession(response, acceptedBefore(providerRef));
      case 'http':
        throw new Error('An HTTP answer cannot be a mail server');
    }
  },
});

/** The bare address, lower case: what one recipient is recognized by. */
function addressOf(mailboxText: string): string {
  return (mailbox.exec(mailboxText)?.groups?.['address'] ?? mailboxText).toLowerCase();
}

/** Recipients that earlier attempts reached: a later one must not reach them again. */
function acceptedBefore(providerRef: Readonly<Record<string, unknown>> | undefined): string[] {
  const accepted = providerRef?.['accepted'];
  return Array.isArray(accepted) ? accepted.filter((address) => typeof address === 'string') : [];
}

/** Codes that say "who are you" rather than "not this message" (RFC 4954 section 6). */
const authenticationReplies = new Set([530, 534, 535, 538]);

function classifySession({ accepted, refused, failure, reply }: SmtpResponse, before: readonly string[]): Classification {
  if (failure !== undefined) {
    const detail = `${failure.command}: ${failure.reply}`;
    if (failure.status >= 400 && failure.status <= 499) return { outcome: 'retryable', errorCode: 'smtp_4yz', detail };
    if (failure.command === 'AUTH' || authenticationReplies.has(failure.status)) {
      return { outcome: 'rejected', errorCode: 'auth_failed', detail, scope: 'auth' };
    }
    if (failure.status >= 500 && failure.status <= 599) {
      const scope = failure.command === 'RCPT' || failure.command === 'DATA' ? 'message' : 'destination';
      return { outcome: 'rejected', errorCode: 'smtp_5yz', detail, scope };
    }
    return { outcome: 'retryable', errorCode: 'protocol_error', detail };
  }
  const reached = [...before, ...accepted.map(addressOf)];
  const providerRef = { accepted: reached };
  if (refused.length === 0) return { outcome: 'delivered', detail: reply, providerRef };

  const detail = refused.map(({ recipient, reply: answer }) => `${recipient}: ${answer}`).join('; ');
  // the ones that may be reached later decide first: the next attempt goes to the unreached only
  if (refused.some(({ status }) => status < 500)) return { outcome: 'retryable', errorCode: 'smtp_4yz', detail, providerRef };
  if (reached.length > 0) return { outcome: 'delivered', errorCode: 'partial', detail, providerRef };
  return { outcome: 'rejected', errorCode: 'smtp_5yz', detail, scope: 'message' };
}
