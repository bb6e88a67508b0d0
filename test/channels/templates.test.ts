import { expect, test } from '@jest/globals';
import { compileTemplate, type Escape } from '../../channels/templates/render.ts';
import { buildFullEvent, viewOf } from './views.ts';

const hostile = `a&b <c> "d" 'e' \r\nf\0g`;
const view = viewOf(buildFullEvent({ message: hostile }));

test.each([
  ['html', 'a&#38;b &#60;c&#62; &#34;d&#34; &#39;e&#39; \r\nfg'],
  ['slack', `a&amp;b &lt;c&gt; "d" 'e' \r\nfg`],
  ['line', `a&b <c> "d" 'e'  f g`],
  ['plain', `a&b <c> "d" 'e' \nfg`],
] as Array<[Escape, string]>)('values are escaped for %s, the template around them is not', (escape, expected) => {
  expect(compileTemplate('<&>{{message}}<&>', escape)(view)).toBe(`<&>${expected}<&>`);
});

test('values inside blocks are escaped as well', () => {
  const template = compileTemplate('{{#if message}}{{message}}{{else}}{{subject}}{{/if}}{{#each links}}[{{title}}]{{/each}}', 'slack');
  expect(template({ ...view, message: '<', links: [{ href: 'https://x.example/', title: '>' }] })).toBe('&lt;[&gt;]');
  expect(template({ ...view, message: '', subject: '<', links: [] })).toBe('&lt;');
});

test('two escapes do not disturb each other', () => {
  const html = compileTemplate('{{message}}', 'html');
  const slack = compileTemplate('{{message}}', 'slack');
  const both = { ...view, message: '<' };
  expect([html(both), slack(both), html(both)]).toEqual(['&#60;', '&lt;', '&#60;']);
});

test('user text is never compiled', () => {
  expect(compileTemplate('{{message}}', 'plain')({ ...view, message: '{{subject}}' })).toBe('{{subject}}');
});

test('neither prototypes nor anything but the view can be reached', () => {
  for (const source of [
    '{{constructor}}',
    '{{__proto__}}',
    '{{message.constructor.name}}',
    '{{event.__proto__.x}}',
    '{{lookup}}',
    '{{settings}}',
    '{{password}}',
  ]) {
    expect(compileTemplate(source, 'plain')(view)).toBe('');
  }
});

test.each([
  '{{{message}}}',
  '{{&message}}',
  '{{> partial}}',
  '{{#> layout}}{{/layout}}',
  '{{* decorator}}',
  '{{log message}}',
  '{{unknown message}}',
])('%s is refused', (source) => {
  expect(() => compileTemplate(source, 'plain')).toThrow('Templates may not');
});

test('values that are not there, or no text, are empty', () => {
  expect(compileTemplate('[{{nothing}}{{event}}{{links}}]', 'plain')(view)).toBe('[]');
});
