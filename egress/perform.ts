import type { OutboundRequest, OutboundResponse } from '../domain/outbound.ts';
import type { Egress } from './guard.ts';
import type { SendOptions } from './http.ts';
import { sendMail } from './smtp.ts';

/**
 * Sends whatever an adapter rendered and returns what came back: an answer or a fault, always a value. The deadline is in milliseconds
 * from now and covers everything up to the response head (HTTP; the body too where it decides) or the server's last reply (SMTP).
 */
export function perform(egress: Egress, request: OutboundRequest, options: SendOptions): Promise<OutboundResponse> {
  switch (request.kind) {
    case 'http':
      return egress.sendHttp(request, options);
    case 'smtp':
      return sendMail(request, egress, options);
  }
}
