/** Who gets the demo's deliveries: real servers on loopback. */
import { findFreePort } from '../embedded/free-port.ts';
import { type Arrival, type HttpReceiver, startHttpReceiver } from '../test/receivers/http.ts';
import { startSlackReceiver } from '../test/receivers/slack.ts';
import { type ReceivedMail, type SmtpReceiver, startSmtpReceiver } from '../test/receivers/smtp.ts';

export interface Receivers {
  /** Takes everything. */
  readonly pipelineUrl: string;
  /** Answers 503 to its first two requests. */
  readonly flakyUrl: string;
  /** Nothing listens there until `openArchive`. */
  readonly archiveUrl: string;
  readonly slackUrl: string;
  readonly smtp: SmtpReceiver;
  openArchive(): Promise<void>;
  /** Rejects when a request came that nobody should have sent. */
  close(): Promise<void>;
}

export interface Watchers {
  readonly onRequest: (receiver: string, arrival: Arrival) => void;
  readonly onMail: (mail: ReceivedMail) => void;
}

const paths = { pipeline: '/pipeline', flaky: '/on-call', archive: '/archive' } as const;

export async function startReceivers({ onRequest, onMail }: Watchers): Promise<Receivers> {
  const http = await startHttpReceiver();
  http.script(paths.pipeline, [], 204);
  http.script(paths.flaky, [503, 503], 204);
  const slack = await startSlackReceiver();
  const smtp = await startSmtpReceiver({ security: 'none' });
  const archivePort = await findFreePort();
  const opened: HttpReceiver[] = [http, slack];
  let closed = false;

  const follow = async <T>(wait: (count: number) => Promise<readonly T[]>, tell: (one: T) => void): Promise<void> => {
    for (let count = 1; !closed;) {
      // Nothing came for a while: wait on.
      const all = await wait(count).catch(() => undefined);
      if (all !== undefined) tell(all[count++ - 1]!);
    }
  };
  const followHttp = (receiver: HttpReceiver, name: (path: string) => string) =>
    void follow(
      (count) => receiver.waitForArrivals(count),
      (arrival) => onRequest(name(arrival.path), arrival),
    );
  followHttp(http, (path) => (path === paths.flaky ? 'on-call' : 'pipeline'));
  followHttp(slack, () => 'slack');
  void follow((count) => smtp.waitForMails(count), onMail);

  return {
    pipelineUrl: http.url(paths.pipeline),
    flakyUrl: http.url(paths.flaky),
    archiveUrl: `http://127.0.0.1:${archivePort}${paths.archive}`,
    slackUrl: slack.webhookUrl,
    smtp,
    async openArchive() {
      const archive = await startHttpReceiver({ port: archivePort });
      archive.script(paths.archive, [], 204);
      opened.push(archive);
      followHttp(archive, () => 'archive');
    },
    async close() {
      closed = true;
      await Promise.all([smtp.close(), ...opened.map((receiver) => receiver.close())]);
    },
  };
}
