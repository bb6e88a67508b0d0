import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { auditCategories, readAction } from '../../../domain/audit/actions.ts';
import { findingCodes } from '../../../domain/audit/findings.ts';

const page = readFileSync(new URL('../../../docs/audit-format.md', import.meta.url), 'utf8');

test('the page tells the golden entry whose leaf hash it names', () => {
  const golden = /^\{"action".*\}$/m.exec(page)![0];
  expect(page).toContain(createHash('sha256').update(`\0${golden}`).digest('hex'));
});

test('the page and the code have the same nouns in the same categories', () => {
  const rows = [...page.matchAll(/^\| (\w+) \| (iam|operational) \| (.*) \|$/gm)].map(([, category, entryClass, nouns]) => ({
    category,
    class: entryClass,
    nouns: nouns!.split(', '),
  }));
  expect(new Set(rows.map(({ category }) => category))).toEqual(new Set(auditCategories));
  for (const row of rows) {
    for (const noun of row.nouns.filter((each) => each !== 'everything else')) {
      const action = noun.includes('.') ? noun : `${noun}.create`;
      expect({ noun, ...readAction(action) }).toMatchObject({ noun, category: row.category, class: row.class });
    }
  }
});

test('the page explains every finding', () => {
  for (const code of findingCodes) expect(page).toContain(`\`${code}\``);
});
