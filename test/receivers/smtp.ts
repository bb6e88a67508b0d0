import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

export interface SmtpReply {
  readonly status: number;
  readonly message: string;
}

/** What the server does instead of accepting; changed by a test at any time. */
export interface SmtpScript {
  connect?: SmtpReply | undefined;
  auth?: SmtpReply | undefined;
  mail?: SmtpReply | undefined;
  /** By recipient, lower case. */
  rcpt?: Readonly<Record<string, SmtpReply>> | undefined;
  data?: SmtpReply | undefined;
  /** Closes the connection when the whole mail is there, instead of answering. */
  dropAfterData?: boolean | undefined;
  /** Says nothing when the whole mail is there. */
  hangAfterData?: boolean | undefined;
}

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** The exact text between DATA and the final dot. */
  readonly raw: string;
  readonly secure: boolean;
  readonly user: string | undefined;
}

export interface SmtpReceiverOptions {
  /** `tls` from the first byte, by STARTTLS, or not offered. */
  readonly security?: 'starttls' | 'tls' | 'none';
  readonly certificate?: { readonly key: string; readonly cert: string };
  /** Who may log in; without it nobody has to. */
  readonly users?: Readonly<Record<string, string>>;
  readonly port?: number;
}

export interface SmtpReceiver {
  readonly host: string;
  readonly port: number;
  readonly script: SmtpScript;
  /** Mails that were taken with 250, and ones whose answer was dropped. */
  readonly mails: readonly ReceivedMail[];
  readonly connections: number;
  waitForMails(count: number, timeoutMs?: number): Promise<readonly ReceivedMail[]>;
  close(): Promise<void>;
}

/** A real SMTP server on loopback. */
export async function startSmtpReceiver(options: SmtpReceiverOptions = {}): Promise<SmtpReceiver> {
  const { security = 'starttls', certificate, users, port = 0 } = options;
  const script: SmtpScript = {};
  const mails: ReceivedMail[] = [];
  const watchers = new Set<() => void>();
  let connections = 0;

  const serverOptions: SMTPServerOptions = {
    ...certificate,
    secure: security === 'tls',
    disabledCommands: security === 'starttls' ? [] : ['STARTTLS'],
    authOptional: users === undefined,
    allowInsecureAuth: true,
    disableReverseLookup: true,
    closeTimeout: 50,
    logger: false,
    onConnect: (_session, callback) => callback(refusal(script.connect)),
    onAuth({ username = '', password }, _session, callback) {
      if (script.auth !== undefined) callback(refusal(script.auth));
      else if (users !== undefined && Object.hasOwn(users, username) && users[username] === password) callback(null, { user: username });
      else callback(refusal({ status: 535, message: 'Authentication credentials invalid' }));
    },
    onMailFrom: (_address, _session, callback) => callback(refusal(script.mail)),
    onRcptTo: ({ address }, _session, callback) => callback(refusal(script.rcpt?.[address.toLowerCase()])),
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        const mail: ReceivedMail = {
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          raw: Buffer.concat(chunks).toString('utf8'),
          secure: session.secure,
          user: typeof session.user === 'string' ? session.user : undefined,
        };
        if (script.data !== undefined) return callback(refusal(script.data));
        mails.push(mail);
        for (const watch of watchers) watch();
        if (script.dropAfterData === true) {
          for (const connection of server.connections) if (connection.session.id === session.id) connection._socket.destroy();
        } else if (script.hangAfterData !== true) {
          callback(null, 'OK: queued as 1');
        }
      });
    },
  };

  const server = new SMTPServer(serverOptions);
  server.on('error', () => undefined);
  server.server.on('connection', () => void (connections += 1));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });

  return {
    host: '127.0.0.1',
    port: (server.server.address() as AddressInfo).port,
    script,
    mails,
    get connections() {
      return connections;
    },
    waitForMails(count, timeoutMs = 30_000) {
      return new Promise((resolve, reject) => {
        const stop = (): void => {
          clearTimeout(timer);
          watchers.delete(watch);
        };
        const watch = (): void => {
          if (mails.length < count) return;
          stop();
          resolve(mails);
        };
        const timer = setTimeout(() => {
          stop();
          reject(new Error(`${mails.length} of ${count} mails came within ${timeoutMs} ms`));
        }, timeoutMs);
        watchers.add(watch);
        watch();
      });
    },
    async close() {
      // through the server, from the top: destroying a socket below its TLS handshake crashes Node
      for (const connection of server.connections) connection._socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function refusal(reply: SmtpReply | undefined): Error | null {
  return reply === undefined ? null : Object.assign(new Error(reply.message), { responseCode: reply.status });
}
