/** `node api/openapi-check.ts`: does openapi.json still say what the schemas say? `--write` makes it say so. */
import { readFileSync, writeFileSync } from 'node:fs';
import { endpoints } from './endpoints.ts';
import { describeApi } from './openapi.ts';

const file = new URL('openapi.json', import.meta.url);
const generated = `${JSON.stringify(describeApi(endpoints), null, 2)}\n`;

if (process.argv.includes('--write')) {
  writeFileSync(file, generated);
} else if (readFileSync(file, 'utf8') !== generated) {
  process.stderr.write('api/openapi.json is out of date; run: node api/openapi-check.ts --write\n');
  process.exitCode = 1;
}
