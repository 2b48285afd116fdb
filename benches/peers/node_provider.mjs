// node-oidc-provider as a service: `node_provider.mjs PORT KEYS STORE`, where KEYS is a file with a private JWKS and STORE is
// memory, redis or redis-once (adapter.mjs). CLIENT_SECRET is that of its two clients for tokens of their own, RS256 and ES256.
import { readFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const [port, keys, store] = process.argv.slice(2);
const RESOURCE = 'http://127.0.0.1:9000';
const { Stored, StoredOnce } = store === 'memory' ? {} : await import('./adapter.mjs');

const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: { memory: undefined, redis: Stored, 'redis-once': StoredOnce }[store],
  jwks: JSON.parse(readFileSync(keys)),
  cookies: { keys: [process.env.COOKIE_KEY] },
  clients: [
    ...['RS256', 'ES256'].map((algorithm) => ({
      client_id: algorithm,
      client_secret: process.env.CLIENT_SECRET,
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    {
      client_id: 'race',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      redirect_uris: [process.env.REDIRECT_URI ?? `${RESOURCE}/callback`],
    },
  ],
  scopes: ['openid', 'read'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // JWTs for the API; what a person's code is exchanged for is for userinfo alone.
      defaultResource: (ctx, client) => (client.clientId === 'race' ? undefined : RESOURCE),
      getResourceServerInfo: (ctx, resource, client) => ({
        scope: 'read',
        audience: resource,
        accessTokenTTL: 3600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: client.clientId } },
      }),
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // As its documentation has it for a client that nobody is asked about.
  async loadExistingGrant({ oidc }) {
    const known = oidc.result?.consent?.grantId || oidc.session.grantIdFor(oidc.client.clientId);
    if (known) return provider.Grant.find(known);
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope('openid');
    await grant.save();
    return grant;
  },
});

// Whoever comes is signed in as somebody.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  ctx.respond = false;
  return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'somebody' } });
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1');
