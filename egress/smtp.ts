import { Readable } from 'node:stream';
import { isNativeError } from 'node:util/types';
import MailComposer from 'nodemailer/lib/mail-composer';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { sha256 } from '../domain/hash.ts';
import type {
  ConnectionFacts,
  SmtpCommand,
  SmtpRefusal,
  SmtpRequest,
  SmtpResponse,
  SmtpServer,
  TransportFault,
  TransportFaultCode,
} from '../domain/outbound.ts';
import { openingTimings, roundMs, type Connected } from './connect.ts';
import { describeError, EgressFault, oneLine } from './fault.ts';
import type { Egress } from './guard.ts';
import type { SendOptions } from './http.ts';

/** How long the server may take to answer QUIT. */
const goodbyeMs = 1_000;

/** What nodemailer tells about a failure. */
interface SessionError extends Error {
  readonly code?: string | undefined;
  /** Node's own code, where nodemailer's covers it. */
  readonly originalCode?: string | undefined;
  readonly command?: string | undefined;
  readonly response?: string | undefined;
  readonly responseCode?: number | undefined;
  readonly recipient?: string | undefined;
  readonly rejectedErrors?: readonly SessionError[] | undefined;
}

/**
 * Sends one mail over one session on a guarded socket. One deadline covers everything from DNS to the server's last reply.
 * Never throws for what the network or the server does.
 */
export async function sendMail(request: SmtpRequest, egress: Egress, options: SendOptions): Promise<SmtpResponse | TransportFault> {
  const session = new MailSession(request, egress);
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.deadlineMs);
  const signal = options.signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, options.signal]);
  const result = await session.run(signal).catch((error: unknown) => {
    if (deadline.signal.aborted) return session.fault('timeout', `no answer within ${options.deadlineMs} ms`);
    if (options.signal?.aborted === true) return session.fault('interrupted', 'stopped while it was under way');
    return session.judge(error);
  });
  clearTimeout(timer);
  session.end(result);
  return result;
}

class MailSession {
  readonly #request: SmtpRequest;
  readonly #egress: Egress;
  readonly #startedAt = performance.now();
  #opened: Connected | undefined;
  #smtp: SMTPConnection | undefined;
  #mail: SmtpResponse['mail'];
  /** The server took DATA and the mail began to flow: from here on a lost answer may mean a delivered mail. */
  #written = false;

  constructor(request: SmtpRequest, egress: Egress) {
    this.#request = request;
    this.#egress = egress;
  }

  async run(signal: AbortSignal): Promise<SmtpResponse> {
    const { server, to } = this.#request;
    const mail = await compose(this.#request);
    this.#mail = { sha256: sha256(mail), bytes: mail.length };
    const opened = await this.#egress.connect(server, { secure: server.security === 'tls', signal });
    this.#opened = opened;
    const smtp = new SMTPConnection(connectionOptions(server, opened, this.#egress.trustedRoots));
    this.#smtp = smtp;

    const failed = new Promise<never>((_resolve, reject) => {
      smtp.once('error', reject);
      signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      if (signal.aborted) reject(new Error('aborted'));
    });
    // whichever step is not waiting for it any more must not make it an unhandled rejection
    failed.catch(() => undefined);
    const step = (run: (done: (error?: Error | null) => void) => void) =>
      Promise.race([failed, new Promise<void>((resolve, reject) => run((error) => (error ? reject(error) : resolve())))]);

    await step((done) => smtp.connect(done));
    const { username, password } = server;
    if (username !== undefined && password !== undefined) {
      await step((done) => smtp.login({ user: username, credentials: { user: username, pass: password } }, done));
    }
    let accepted: readonly string[] = [];
    let refused: readonly SmtpRefusal[] = [];
    let reply = '';
    const envelope = { from: addressOf(this.#request.from), to: to.map(addressOf) };
    await step((done) =>
      smtp.send(envelope, this.#stream(mail), (error, info) => {
        accepted = info?.accepted ?? [];
        refused = (info?.rejectedErrors ?? []).map(refusalOf);
        reply = oneLine(info?.response ?? '');
        done(error);
      }),
    );
    return { kind: 'smtp', accepted, refused, reply, ...this.#composed(), ...this.#facts() };
  }

  /** What a failed step means: a reply of the server's is an answer, everything else a fault. */
  judge(error: unknown): SmtpResponse | TransportFault {
    if (error instanceof EgressFault) return this.fault(error.code, error.detail);
    if (!isNativeError(error)) return this.fault('protocol_error', 'unknown error');
    const { code, command = '', response = '', responseCode, rejectedErrors, originalCode } = error as SessionError;
    if (rejectedErrors !== undefined && rejectedErrors.length > 0) {
      return { kind: 'smtp', accepted: [], refused: rejectedErrors.map(refusalOf), ...this.#composed(), ...this.#facts() };
    }
    if (command === 'STARTTLS') return this.fault('tls_error', response === '' ? describeError(error) : `STARTTLS: ${oneLine(response)}`);
    if (responseCode !== undefined && responseCode >= 400) {
      return {
        kind: 'smtp',
        accepted: [],
        refused: [],
        failure: { command: commandOf(command), status: responseCode, reply: oneLine(response) },
        ...this.#composed(),
        ...this.#facts(),
      };
    }
    return this.fault(faultCodeOf(code, originalCode), describeError(error, originalCode));
  }

  fault(code: TransportFaultCode, detail: string): TransportFault {
    return { kind: 'fault', code, detail, bytesWritten: this.#written, ...this.#facts() };
  }

  /** After an answer a goodbye that nobody waits for; after a fault the connection is simply closed. */
  end(result: SmtpResponse | TransportFault): void {
    const smtp = this.#smtp;
    // closed from the top: destroying the socket below a TLS handshake can crash Node
    if (smtp === undefined) return void this.#opened?.socket.destroy();
    smtp.on('error', () => undefined);
    if (result.kind === 'fault') return smtp.close();
    smtp.quit();
    setTimeout(() => smtp.close(), goodbyeMs).unref();
  }

  #stream(mail: Buffer): Readable {
    return Readable.from(this.#chunks(mail), { objectMode: false });
  }

  async *#chunks(mail: Buffer): AsyncGenerator<Buffer> {
    this.#written = true;
    yield mail;
  }

  #composed(): Pick<SmtpResponse, 'mail'> {
    return this.#mail === undefined ? {} : { mail: this.#mail };
  }

  #facts(): ConnectionFacts {
    const opened = this.#opened;
    const total = roundMs(performance.now() - this.#startedAt);
    if (opened === undefined) return { timings: { total } };
    return { timings: { ...openingTimings(opened), total }, remoteAddress: opened.remoteAddress, tlsVersion: opened.tlsVersion };
  }
}

/** The mail as it goes over the wire: the same bytes for each attempt of a delivery, so even the boundary is derived. */
async function compose(request: SmtpRequest): Promise<Buffer> {
  const composer = new MailComposer({
    from: request.from,
    to: [...request.to],
    ...(request.replyTo === undefined ? {} : { replyTo: request.replyTo }),
    subject: request.subject,
    text: request.text,
    html: request.html,
    messageId: request.messageId,
    ...(request.references === undefined ? {} : { references: request.references }),
    ...(request.inReplyTo === undefined ? {} : { inReplyTo: request.inReplyTo }),
    headers: { ...request.headers },
    date: new Date(request.dateMs),
    baseBoundary: request.messageId.replaceAll(/[^A-Za-z0-9]/g, '').slice(0, 40),
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return onTheWire(await composer.compile().build());
}

/** With the line ends that SMTP sends, and one at the end: what is noted of a mail must be what its receiver can compute. */
function onTheWire(mail: Buffer): Buffer {
  const text = mail.toString('latin1').replaceAll(/\r?\n/g, '\r\n');
  return Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1');
}

function connectionOptions(
  server: SmtpServer,
  opened: Connected,
  roots: readonly string[] | undefined,
): ConstructorParameters<typeof SMTPConnection>[0] {
  return {
    host: server.host,
    port: server.port,
    connection: opened.socket,
    secure: server.security === 'tls',
    // TLS was negotiated, and the certificate checked, by the connector
    secured: server.security === 'tls',
    requireTLS: server.security === 'starttls',
    ignoreTLS: server.security === 'none',
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: true, ...(roots === undefined ? {} : { ca: [...roots] }) },
    socketCloseTimeout: 0,
    logger: false,
  };
}

const lostConnection = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ENOTCONN', 'ETIMEDOUT', 'ECONNREFUSED']);

function faultCodeOf(code: string | undefined, originalCode: string | undefined): TransportFaultCode {
  switch (code) {
    case 'ETIMEDOUT':
      return 'timeout';
    case 'ETLS':
      return 'tls_error';
    case 'ECONNECTION':
      return 'reset';
    case 'ESOCKET':
      // what a connected socket reports besides its loss comes from TLS: a certificate, a protocol version
      return originalCode === undefined || lostConnection.has(originalCode) ? 'reset' : 'tls_error';
    default:
      return 'protocol_error';
  }
}

function commandOf(command: string): SmtpCommand {
  const [word = ''] = command.split(' ');
  switch (word) {
    case 'EHLO':
    case 'AUTH':
    case 'MAIL':
    case 'RCPT':
    case 'DATA':
      return word;
    case 'HELO':
      return 'EHLO';
    default:
      return 'CONNECT';
  }
}

function refusalOf(error: SessionError): SmtpRefusal {
  return { recipient: error.recipient ?? '', status: error.responseCode ?? 0, reply: oneLine(error.response ?? error.message) };
}

function addressOf(mailbox: string): string {
  return /<([^<>]+)>$/.exec(mailbox)?.[1] ?? mailbox;
}
