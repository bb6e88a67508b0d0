/** Cutting texts to a provider's limits, which count UTF-16 units. */

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
const ellipsis = '…';

/**
 * The text, or as much of it as fits with an ellipsis, cut between graphemes so that no emoji, accent or entity (`&amp;`) is torn.
 * @param limit UTF-16 units
 */
export function cutText(text: string, limit: number): { text: string; cut: boolean } {
  if (text.length <= limit) return { text, cut: false };
  let kept = '';
  for (const unit of units(text)) {
    if (kept.length + unit.length + ellipsis.length > limit) break;
    kept += unit;
  }
  return { text: kept + ellipsis, cut: true };
}

/** Graphemes, with an entity as one unit. */
function* units(text: string): Generator<string> {
  for (const [part] of text.matchAll(/&(?:amp|lt|gt);|[^&]+|&/g)) {
    if (part.length > 1 && part.startsWith('&')) yield part;
    else for (const { segment } of segmenter.segment(part)) yield segment;
  }
}

/** One line without control characters: for everything that ends up in a header or a title. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
}
