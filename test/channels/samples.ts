import type { ChannelType } from '../../domain/channel.ts';

/** Settings of each channel type that sends, with a secret in every secret field. */
export const sampleSettings: Readonly<Record<Exclude<ChannelType, 'in_app'>, Record<string, unknown>>> = {
  webhook: {
    url: 'https://receiver.example.com/hook',
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    headers: { 'X-Api-Key': 'key-of-the-receiver' },
  },
  slack: { webhookUrl: 'https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX', channel: '#alerts' },
  email: {
    host: 'smtp.example.com',
    username: 'tocsin',
    password: 'correct horse battery',
    from: 'Tocsin <tocsin@example.com>',
    replyTo: 'ops@example.com',
    to: ['ops@example.com', 'Dev Team <dev@example.com>'],
  },
};

export type SendingType = keyof typeof sampleSettings;
export const sendingTypes = Object.keys(sampleSettings) as SendingType[];
