import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** An in-app item. Without `userId` it is every member's, with a read mark of their own each. */
export const NotificationEntity = defineEntity({
  name: 'Notification',
  tableName: 'notification',
  properties: {
    orgId: p.uuid().primary(),
    id: p.uuid().primary(),
    userId: p.uuid().nullable(),
    eventId: p.uuid().nullable(),
    type: p.text(),
    feed: p.text(),
    severity: p.text(),
    projectId: p.uuid().nullable(),
    subject: p.text(),
    message: p.text().nullable(),
    /** Only members of this role, of an item for everybody. */
    audienceRole: p.text().nullable(),
    /** Null: as long as it is kept. */
    shownUntil: p.datetime(3).nullable(),
    createdAt: p.datetime(3),
  },
});
export type NotificationRow = InferEntity<typeof NotificationEntity>;

export const NotificationReadEntity = defineEntity({
  name: 'NotificationRead',
  tableName: 'notification_read',
  properties: {
    orgId: p.uuid().primary(),
    userId: p.uuid().primary(),
    notificationId: p.uuid().primary(),
    /** Null: marked as unread, whatever a watermark says. */
    readAt: p.datetime(3).nullable(),
  },
});
