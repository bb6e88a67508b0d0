/** One unary gRPC call without a gRPC library: all the supervisor asks of Temporal is whether it is there. */
import { connect } from 'node:http2';

/** gRPC status OK. */
const grpcOk = 0;

/**
 * Calls `path` (`/package.Service/Method`) at `address` (host:port, clear text) with an encoded message.
 * Answers the gRPC status; undefined when there was no answer within `timeoutMs`. Never rejects.
 */
function probeGrpc(address: string, path: string, message: Buffer, timeoutMs: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const session = connect(`http://${address}`);
    const finish = (status?: number) => {
      clearTimeout(timer);
      session.destroy();
      resolve(status);
    };
    const timer = setTimeout(finish, timeoutMs);
    session.once('error', () => finish());
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' });
    const readStatus = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) finish(Number(headers['grpc-status']));
    };
    stream
      .once('response', readStatus)
      .once('trailers', readStatus)
      .once('error', () => finish())
      .once('close', () => finish());
    stream.resume();
    // Length-prefixed message: one byte of flags, four of length (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
  });
}

/** Whether anything at `address` answers gRPC, whatever it says. */
export async function answersGrpc(address: string, timeoutMs: number): Promise<boolean> {
  return (await probeGrpc(address, '/grpc.health.v1.Health/Check', Buffer.alloc(0), timeoutMs)) !== undefined;
}

/** Whether the Temporal frontend at `address` serves that namespace. */
export async function servesNamespace(address: string, namespace: string, timeoutMs: number): Promise<boolean> {
  const name = Buffer.from(namespace);
  // DescribeNamespaceRequest: field 1, a string; names of at most 100 characters (config.ts) have a length of one byte.
  const request = Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  return (await probeGrpc(address, '/temporal.api.workflowservice.v1.WorkflowService/DescribeNamespace', request, timeoutMs)) === grpcOk;
}
