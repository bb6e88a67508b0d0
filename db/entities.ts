import { ApiKeyEntity } from './entities/api-key.ts';
import { AttemptEntity } from './entities/attempt.ts';
import { CalendarEntity, CalendarVersionEntity } from './entities/calendar.ts';
import { ChannelEntity } from './entities/channel.ts';
import { ContactCodeEntity } from './entities/contact-code.ts';
import { ContactMethodEntity } from './entities/contact-method.ts';
import { CustomEventTypeEntity } from './entities/custom-event-type.ts';
import { DecisionEntity } from './entities/decision.ts';
import { DeliveryEntity } from './entities/delivery.ts';
import { EscalationPolicyEntity, EscalationPolicyVersionEntity } from './entities/escalation-policy.ts';
import { EscalationPolicyTestEntity } from './entities/escalation-policy-test.ts';
import { EventEntity } from './entities/event.ts';
import { IdempotencyEntity } from './entities/idempotency.ts';
import { IntegrationEntity } from './entities/integration.ts';
import { LoopStatusEntity } from './entities/loop-status.ts';
import { MemberEntity } from './entities/member.ts';
import { NotificationEntity, NotificationReadEntity } from './entities/notification.ts';
import { OrganizationEntity } from './entities/organization.ts';
import { PreferencesEntity } from './entities/preferences.ts';
import { ProjectEntity } from './entities/project.ts';
import { RuleEntity } from './entities/rule.ts';
import { ScheduleOverrideEntity } from './entities/schedule-override.ts';
import { ScheduleEntity, ScheduleVersionEntity } from './entities/schedule.ts';
import { ServiceAccountEntity } from './entities/service-account.ts';
import { SilenceEntity } from './entities/silence.ts';
import { WebhookEntity } from './entities/webhook.ts';
import { WorkerLeaseEntity } from './entities/worker-lease.ts';

/** Every entity, named: discovery by file pattern would need the compiled paths and hide a missing one. */
export const entities = [
  OrganizationEntity,
  ProjectEntity,
  MemberEntity,
  ServiceAccountEntity,
  ApiKeyEntity,
  IdempotencyEntity,
  WebhookEntity,
  ChannelEntity,
  RuleEntity,
  SilenceEntity,
  CalendarEntity,
  CalendarVersionEntity,
  ScheduleEntity,
  ScheduleVersionEntity,
  ScheduleOverrideEntity,
  ContactMethodEntity,
  ContactCodeEntity,
  PreferencesEntity,
  EscalationPolicyEntity,
  EscalationPolicyVersionEntity,
  EscalationPolicyTestEntity,
  IntegrationEntity,
  CustomEventTypeEntity,
  EventEntity,
  DecisionEntity,
  DeliveryEntity,
  AttemptEntity,
  NotificationEntity,
  NotificationReadEntity,
  WorkerLeaseEntity,
  LoopStatusEntity,
];
