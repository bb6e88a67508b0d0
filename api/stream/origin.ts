/**
 * Whether a page from `origin` may connect. Browsers always say where a page is from, and send no credentials of other sites, but a key typed
 * into a foreign page must not be of use there. Whoever is no browser says nothing and may.
 * @param host of the request
 * @param allowed origins, lower case; none: only the same host
 */
export function isOriginAllowed(origin: string | undefined, host: string | undefined, allowed: readonly string[]): boolean {
  if (origin === undefined) return true;
  if (allowed.length > 0) return allowed.includes(origin.toLowerCase());
  return host !== undefined && URL.parse(origin)?.host === host.toLowerCase();
}
