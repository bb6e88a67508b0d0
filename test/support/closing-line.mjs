import { writeSync } from 'node:fs';

/** Jest reporter: ends the run's output with one plain line, alone on standard output, that scripts can read. */
export default class ClosingLine {
  /** The line waits for the end of the process: Jest's own summary is printed after every reporter given by name. */
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    process.once('exit', () => writeSync(1, `${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped\n`));
  }
}
