import { expect, test } from '@jest/globals';
import { channelAdapters } from '../../channels/index.ts';
import { channelTypes } from '../../domain/channel.ts';
import { contactTypes } from '../../domain/contact-method.ts';
import { sampleSettings, sendingTypes } from './samples.ts';
import { deliveryId, minimalView, nowMs } from './views.ts';

test('types of contact methods are those whose adapters can address one person', () => {
  expect(channelTypes).toEqual(expect.arrayContaining([...contactTypes]));
  const addressing = sendingTypes.filter((type) => !('verdict' in channelAdapters[type].open(sampleSettings[type], 'ada@example.com')));
  expect(addressing).toEqual(contactTypes);
});

test('a message to one address goes to nobody else that the channel names', () => {
  const settings = { ...sampleSettings.email, to: ['everybody@example.com'] };
  const opened = channelAdapters.email.open(settings, 'ada@example.com');
  if ('verdict' in opened) throw new Error(opened.verdict.detail);
  const rendered = opened.render(minimalView('info'), { deliveryId, attempt: 1, nowMs });
  expect(rendered).toMatchObject({ request: { kind: 'smtp', to: ['ada@example.com'] } });
  expect(JSON.stringify(rendered)).not.toContain('everybody');
});
