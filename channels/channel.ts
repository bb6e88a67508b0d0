import type { z } from 'zod';
import type { ChannelType, DestinationPolicy, UrlFault } from '../domain/channel.ts';
import type { Classification } from '../domain/delivery.ts';
import type { MessageView } from '../domain/message.ts';
import type { OutboundRequest, OutboundResponse } from '../domain/outbound.ts';

/** What a message needs besides its content. Ids are UUIDs. */
export interface SendContext {
  readonly deliveryId: string;
  /** From 1, never reset. */
  readonly attempt: number;
  readonly nowMs: number;
  /** What `classify` of an earlier attempt returned. */
  readonly providerRef?: Readonly<Record<string, unknown>> | undefined;
}

/** A message ready to be sent, or the verdict of an attempt that sends nothing. */
export type Rendering = { readonly request: OutboundRequest; readonly truncated: boolean } | { readonly verdict: Classification };

export interface AnswerContext {
  readonly nowMs: number;
  /** As given to `render`. */
  readonly providerRef?: Readonly<Record<string, unknown>> | undefined;
}

/** One custom fault of settings, in the form that schemas report. */
export interface SettingsIssue {
  readonly path: readonly string[];
  readonly code: string;
  readonly message: string;
}

/** What a channel type's file declares. All functions are pure: the shared runner does the sending. */
export interface ChannelAdapterDefinition<Settings extends object> {
  readonly type: ChannelType;
  readonly settingsSchema: z.ZodType<Settings>;
  /** Kept encrypted and never shown. */
  readonly secretFields: ReadonlyArray<keyof Settings & string>;
  /** Rules on settings that depend on what this process allows. */
  validate(settings: Settings, policy: DestinationPolicy): SettingsIssue[];
  /** The settings by which a message goes to one address alone. Absent: the type reaches no single person. */
  addressedTo?(settings: Settings, address: string): Settings;
  /** Every text that must not appear in what is stored about an attempt. */
  secretsOf(settings: Settings): string[];
  /** The same view, settings and delivery give the same bytes, apart from signatures and the attempt number. */
  render(view: MessageView, settings: Settings, context: SendContext): Rendering;
  /** Total over all answers, and never lenient: what is not known to be success is none. */
  classify(response: OutboundResponse, settings: Settings, context: AnswerContext): Classification;
}

/** A channel's settings bound to its adapter: what the runner works with. */
export interface OpenChannel {
  /** For `createRedactor`. */
  readonly secrets: readonly string[];
  render(view: MessageView, context: SendContext): Rendering;
  classify(response: OutboundResponse, context: AnswerContext): Classification;
}

export type ReadSettings = { readonly settings: Record<string, unknown> } | { readonly issues: z.core.$ZodIssue[] };

/** An adapter as the rest of Tocsin sees it: settings go in as plain JSON, whatever their type. */
export interface ChannelAdapter {
  readonly type: ChannelType;
  readonly settingsSchema: z.ZodType;
  readonly secretFields: readonly string[];
  /** Checks settings as a caller gave them (secrets included) and fills in defaults. Every fault is reported; paths start at the settings. */
  readSettings(input: unknown, policy: DestinationPolicy): ReadSettings;
  /**
   * Binds stored settings (secrets joined), with `address` for messages to that address alone. A `verdict` says that they are not valid any
   * more: recorded as a rejected attempt.
   */
  open(settings: unknown, address?: string): OpenChannel | { readonly verdict: Classification };
}

/** Binds a definition to its settings' type, so that the rest of Tocsin need not know it. */
export function defineChannel<Settings extends object>(definition: ChannelAdapterDefinition<Settings>): ChannelAdapter {
  const { type, settingsSchema, secretFields } = definition;
  return {
    type,
    settingsSchema,
    secretFields,
    readSettings(input, policy) {
      const parsed = settingsSchema.safeParse(input, { reportInput: true });
      if (!parsed.success) return { issues: parsed.error.issues };
      const issues = definition.validate(parsed.data, policy);
      if (issues.length > 0) return { issues: issues.map(customIssue) };
      return { settings: Object.fromEntries(Object.entries(parsed.data)) };
    },
    open(stored, address) {
      const parsed = settingsSchema.safeParse(stored);
      if (!parsed.success) {
        const fields = parsed.error.issues.map(({ path }) => path.join('.') || 'settings').join(', ');
        return { verdict: { outcome: 'rejected', errorCode: 'config_invalid', detail: `not valid: ${fields}`, scope: 'destination' } };
      }
      const settings = address === undefined ? parsed.data : definition.addressedTo?.(parsed.data, address);
      if (settings === undefined) {
        const detail = `a channel of type ${type} reaches no single address`;
        return { verdict: { outcome: 'rejected', errorCode: 'config_invalid', detail, scope: 'destination' } };
      }
      return {
        secrets: definition.secretsOf(settings),
        render: (view, context) => definition.render(view, settings, context),
        classify: (response, context) => definition.classify(response, settings, context),
      };
    },
  };
}

function customIssue({ path, code, message }: SettingsIssue): z.core.$ZodIssue {
  return { code: 'custom', path: [...path], message, params: { code }, input: undefined };
}

/** The fault of a URL, if there is one, as issues of the field that it is in. */
export function urlIssues(field: string, fault: UrlFault | undefined): SettingsIssue[] {
  return fault === undefined ? [] : [{ path: [field], code: fault.reason, message: fault.detail }];
}
