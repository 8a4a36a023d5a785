// An OpenID Connect provider for the tests: whoever signs in is who they say they are.
import Provider from 'oidc-provider';

export function provider(port, redirect) {
  const issuer = `http://localhost:${port}`;
  const groups = { olga: ['Legal Team'], AGENT: ['Legal Team', 'Privacy'], nobody: [] };
  const oidc = new Provider(issuer, {
    clients: [{ client_id: 'pgveil', client_secret: 'a secret of the tests', redirect_uris: [redirect] }],
    cookies: { keys: ['a key of the tests'] },
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [], email: `${id}@example.com`, email_verified: true }),
    }),
  });
  return new Promise((resolve) => {
    const server = oidc.listen(port, '127.0.0.1', () => resolve({ issuer, server }));
  });
}
