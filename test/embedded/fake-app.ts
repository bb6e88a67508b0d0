/** Stands in for API and worker in tests of the supervisor: an HTTP server that says what it was given. */
import { createServer } from 'node:http';
import { tellSupervisor, whenSupervisorIsGone } from '../../embedded/supervised.ts';

const port = Number(process.env['TOCSIN_PORT']);
const shown = ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'TOCSIN_SECRET_KEYS_FILE', 'TOCSIN_BOOTSTRAP_KEY', 'TOCSIN_INSTANCE'];
const server = createServer((_request, response) => {
  response.end(JSON.stringify(Object.fromEntries(shown.map((name) => [name, process.env[name]]))));
});
whenSupervisorIsGone(() => process.exit(0));
server.listen(port, '127.0.0.1', () => void tellSupervisor({ ready: true, apiUrl: `http://127.0.0.1:${port}` }));
