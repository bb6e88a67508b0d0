/** What makes two names the same: trimmed, compatibility-normalized and case-folded. The result is compared, never shown. */
export function foldName(name: string): string {
  // upper then lower case approximates Unicode case folding: it also makes "ß" equal "ss" and final sigma equal sigma
  return name.normalize('NFKC').trim().toUpperCase().toLowerCase().normalize('NFKC');
}
