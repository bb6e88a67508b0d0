/** Jest runs TypeScript as ES modules through swc, which only strips and lowers: types are checked by `npm run check`. */
export default {
  roots: ['<rootDir>/test'],
  testEnvironment: 'node',
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleFileExtensions: ['ts', 'js', 'mjs', 'cjs', 'json', 'node'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' }, sourceMaps: 'inline' },
    ],
  },
  // Waits within a test have limits of their own; on a slow machine several may add up.
  testTimeout: 180_000,
  // More than cores: the slowest files mostly wait for what they have killed.
  maxWorkers: 3,
  // Jest keeps the modules of every file that a worker has run, some 40 MB each: at the end the process is busy giving them back for longer
  // than the half second it is granted, and is said to have been kept alive by a test. So a worker that has grown is replaced.
  workerIdleMemoryLimit: '800MB',
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  reporters: ['default', '<rootDir>/test/support/closing-line.mjs'],
};
