import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '..');
const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: root })].toSorted();
const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules')
  .map(({ name }) => name);

/** Texts in backticks that name a file or folder of this project: below one of its folders, or a source file at its root. */
function findPaths(page: string): string[] {
  const prose = page.replaceAll(/^```[^]*?^```$/gm, '');
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
  return spans.filter((span) => {
    if (!/^[\w./-]+$/.test(span)) return false;
    const [first] = span.split('/');
    return span.includes('/') ? folders.includes(first!) : /\.(ts|json|yml|md)$/.test(span) && !span.startsWith('/');
  });
}

/** Addresses of links, without those of the web. */
function findLinks(page: string): string[] {
  return [...page.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!).filter((address) => !/^https?:/.test(address));
}

test.each(pages)('every path and link of %s exists', (name) => {
  const page = readFileSync(join(root, name), 'utf8');
  const paths = findPaths(page).filter((path) => !existsSync(join(root, path)));
  const links = findLinks(page).filter((link) => !existsSync(join(root, dirname(name), link)));
  expect({ paths, links }).toEqual({ paths: [], links: [] });
});

test('the page on architecture names every folder of sources', () => {
  const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const sources = folders.filter((folder) => globSync('**/*.ts', { cwd: join(root, folder) }).length > 0);
  expect(sources.filter((folder) => !page.includes(`\`${folder}/\``))).toEqual([]);
});

test('decisions are numbered without a gap, and dated', () => {
  const decisions = pages.filter((name) => name.startsWith('docs/adr/'));
  expect(decisions.map((name) => Number(/adr\/(\d{4})-/.exec(name)?.[1]))).toEqual(decisions.map((_, i) => i + 1));
  for (const name of decisions) expect(readFileSync(join(root, name), 'utf8')).toMatch(/^# \d+\. [^\n]+\n\n\d{4}-\d{2}-\d{2}\n/);
});
