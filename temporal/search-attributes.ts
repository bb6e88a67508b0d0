/**
 * The search attributes by which an operator finds a workflow in the Temporal Web UI: the one list, registered by flag on the
 * embedded server and through the operator service elsewhere. SQL visibility has room for 10 Keyword and 3 each of Text, Bool, Int,
 * Double, Datetime and KeywordList per namespace. Ids and closed sets only: a payload codec does not encrypt them.
 */
export const searchAttributeTypes = {
  TocsinOrg: 'Keyword',
  TocsinDestination: 'Keyword',
  TocsinChannelType: 'Keyword',
  TocsinEventType: 'Keyword',
  TocsinState: 'Keyword',
  TocsinPolicy: 'Keyword',
  TocsinSeverity: 'Keyword',
  TocsinTier: 'Int',
  TocsinDueAt: 'Datetime',
} as const;

export type SearchAttributeName = keyof typeof searchAttributeTypes;
