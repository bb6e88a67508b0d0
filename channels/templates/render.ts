import { readFileSync } from 'node:fs';
import Handlebars from 'handlebars';
import type { MessageView } from '../../domain/message.ts';
import { oneLine } from '../text.ts';

/** How a template's output is read where it goes, and so what has to be done to every value in it. */
export type Escape = 'plain' | 'line' | 'html' | 'slack';

const escapes: Readonly<Record<Escape, (text: string) => string>> = {
  plain: (text) => text.replaceAll('\r\n', '\n').replaceAll('\r', '\n').replaceAll('\0', ''),
  line: oneLine,
  html: (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`).replaceAll('\0', ''),
  slack: (text) => escapeSlack(text.replaceAll('\0', '')),
};

/** Slack reads exactly these three; escaping them makes links, channels and mentions (`<!channel>`) plain text. */
export function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** An instance of its own: the global one is shared by everything in the process that uses Handlebars. */
const engine = Handlebars.create();
engine.unregisterHelper('log');
const knownHelpers = { if: true, unless: true, each: true, with: true, lookup: true };

/**
 * Compiles a template whose every `{{value}}` is escaped for its channel. Handlebars' own escaping is HTML only and global, so the
 * syntax tree is rewritten instead: `{{x}}` becomes a call of this template's escape helper.
 * @throws on partials, decorators and unescaped values, so that nothing can come into a message as it is
 */
export function compileTemplate(source: string, escape: Escape): (view: MessageView) => string {
  const helper = `escape_${escape}`;
  const apply = escapes[escape];
  const ast = engine.parse(source);
  rewriteProgram(ast, helper);
  const template = engine.compile<MessageView>(ast, {
    noEscape: true,
    knownHelpersOnly: true,
    knownHelpers: { ...knownHelpers, [helper]: true },
  });
  const helpers = {
    [helper]: (value: unknown) => apply(typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''),
  };
  return (view) => template(view, { helpers });
}

function rewriteProgram(program: hbs.AST.Program, helper: string): void {
  program.body = program.body.map((statement) => {
    switch (statement.type) {
      case 'ContentStatement':
      case 'CommentStatement':
        return statement;
      case 'MustacheStatement':
        return escaped(statement as hbs.AST.MustacheStatement, helper);
      case 'BlockStatement': {
        const block = statement as hbs.AST.BlockStatement;
        rewriteProgram(block.program, helper);
        if (block.inverse as hbs.AST.Program | undefined) rewriteProgram(block.inverse, helper);
        return block;
      }
      default:
        throw new Error(`Templates may not contain ${statement.type} (line ${statement.loc.start.line})`);
    }
  });
}

function escaped(statement: hbs.AST.MustacheStatement, helper: string): hbs.AST.MustacheStatement {
  if (!statement.escaped) throw new Error(`Templates may not contain unescaped values (line ${statement.loc.start.line})`);
  if (statement.params.length > 0) throw new Error(`Templates may not call helpers in a value (line ${statement.loc.start.line})`);
  const path: hbs.AST.PathExpression = {
    type: 'PathExpression',
    data: false,
    depth: 0,
    parts: [helper],
    original: helper,
    loc: statement.loc,
  };
  return { ...statement, path, params: [statement.path], escaped: false };
}

/** A built-in template: its file is `<channel type>/<part>.hbs` beside this one. */
export function loadTemplate(channelType: string, part: string, escape: Escape): (view: MessageView) => string {
  return compileTemplate(readFileSync(new URL(`./${channelType}/${part}.hbs`, import.meta.url), 'utf8'), escape);
}
