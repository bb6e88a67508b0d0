/** What leaves Tocsin and what comes back, as plain data: adapters make requests and judge answers, egress/ does what lies between. */

/** One HTTP request. Header names are sent as written; host, connection and content-length are added on the wire. */
export interface HttpRequest {
  readonly kind: 'http';
  readonly method: 'POST';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Lower-case names of headers whose values are the organization's and must not be kept. */
  readonly privateHeaders: ReadonlySet<string>;
  readonly body: Uint8Array;
  /** The outcome is in the body, so the deadline covers the body as well and an incomplete one is a timeout. */
  readonly bodyDecides: boolean;
}

/** One mail to one or more recipients over one SMTP session. */
export interface SmtpRequest {
  readonly kind: 'smtp';
  readonly server: SmtpServer;
  /** Envelope and header addresses, `name <local@domain>` or `local@domain`. */
  readonly from: string;
  readonly replyTo?: string | undefined;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** With angle brackets. */
  readonly messageId: string;
  /** One or more, oldest first. */
  readonly references?: string | undefined;
  readonly inReplyTo?: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The Date header. */
  readonly dateMs: number;
}

export interface SmtpServer {
  readonly host: string;
  readonly port: number;
  /** `starttls`: TLS is required before anything is said; `none` sends in the clear and must have been chosen. */
  readonly security: 'starttls' | 'tls' | 'none';
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export type OutboundRequest = HttpRequest | SmtpRequest;

/** Milliseconds from the start of the attempt to the end of each part; absent parts did not happen (a reused connection has no dns). */
export interface Timings {
  readonly dns?: number;
  readonly connect?: number;
  readonly tls?: number;
  readonly firstByte?: number;
  readonly total: number;
}

/** What is known about the connection an attempt used, as far as it came. */
export interface ConnectionFacts {
  readonly timings: Timings;
  readonly remoteAddress?: string | undefined;
  readonly tlsVersion?: string | undefined;
  /** The first try met a connection that the receiver had just closed, and the request was written a second time. */
  readonly repeated?: boolean | undefined;
}

export interface HttpResponse extends ConnectionFacts {
  readonly kind: 'http';
  readonly status: number;
  /** Lower-case names; several values of one name are an array. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** What was read of the body. */
  readonly body: Uint8Array;
  /** The body went on, or broke off. */
  readonly bodyTruncated: boolean;
}

/** The server's refusal of one recipient. */
export interface SmtpRefusal {
  readonly recipient: string;
  readonly status: number;
  readonly reply: string;
}

/** CONNECT: the server's greeting, or a closing word (421) at any time. */
export type SmtpCommand = 'CONNECT' | 'EHLO' | 'AUTH' | 'MAIL' | 'RCPT' | 'DATA';

export interface SmtpFailure {
  readonly command: SmtpCommand;
  readonly status: number;
  readonly reply: string;
}

/** A session in which the server answered: it took the message (`accepted` is not empty), refused every recipient, or ended it (`failure`). */
export interface SmtpResponse extends ConnectionFacts {
  readonly kind: 'smtp';
  readonly accepted: readonly string[];
  readonly refused: readonly SmtpRefusal[];
  /** The reply that ended the session before a mail was sent, and the command it answered. */
  readonly failure?: SmtpFailure;
  /** The reply to the message. */
  readonly reply?: string;
  /** The mail as it was to go over the wire: the same bytes for each attempt of a delivery. */
  readonly mail?: { readonly sha256: Uint8Array; readonly bytes: number };
}

/** Why there is no answer. */
export type TransportFaultCode =
  | 'dns_error'
  | 'connect_refused'
  | 'connect_timeout'
  | 'tls_error'
  | 'reset'
  | 'timeout'
  | 'blocked_address'
  | 'protocol_error'
  | 'config_invalid'
  /** The operator's proxy failed; nothing is known about the receiver. */
  | 'proxy_error'
  /** Given up by us, at shutdown. */
  | 'interrupted';

export interface TransportFault extends ConnectionFacts {
  readonly kind: 'fault';
  readonly code: TransportFaultCode;
  /** One line for people, without secrets: the reason, Node's code, the address. */
  readonly detail: string;
  /** The request, or the mail after DATA, may have reached the receiver. */
  readonly bytesWritten: boolean;
}

export type OutboundResponse = HttpResponse | SmtpResponse | TransportFault;
