import type { Client } from './client.ts';

/** Open connections of one user. */
export const connectionsPerUser = 5;

/** The connections of this process that are somebody's. */
export interface Registry {
  /** @returns the connection that is one too many: the user's oldest */
  add(organizationId: string, userId: string, client: Client): Client | undefined;
  /** @returns whether it was the organization's last */
  remove(organizationId: string, userId: string, client: Client): boolean;
  usersOf(organizationId: string): string[];
  /** Oldest first. */
  clientsOf(organizationId: string, userId: string): readonly Client[];
}

export function createRegistry(): Registry {
  const organizations = new Map<string, Map<string, Set<Client>>>();
  return {
    add(organizationId, userId, client) {
      const users = organizations.get(organizationId) ?? new Map<string, Set<Client>>();
      const clients = users.get(userId) ?? new Set();
      organizations.set(organizationId, users.set(userId, clients.add(client)));
      return clients.size > connectionsPerUser ? clients.values().next().value : undefined;
    },
    remove(organizationId, userId, client) {
      const users = organizations.get(organizationId);
      const clients = users?.get(userId);
      if (users === undefined || clients === undefined) return false;
      clients.delete(client);
      if (clients.size === 0) users.delete(userId);
      if (users.size > 0) return false;
      organizations.delete(organizationId);
      return true;
    },
    usersOf: (organizationId) => [...(organizations.get(organizationId)?.keys() ?? [])],
    clientsOf: (organizationId, userId) => [...(organizations.get(organizationId)?.get(userId) ?? [])],
  };
}
