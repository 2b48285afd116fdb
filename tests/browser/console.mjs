// What administrators do, but for the keys.
import assert from 'node:assert/strict';
import { PASSWORD } from './service.mjs';

export const ROOT = 'root@example.com';
const LONG = `Count ${'Wolfeschlegelsteinhausenbergerdorff'.repeat(3)}`.slice(0, 120);
const LONG_ADDRESS = `${'long'.repeat(15)}@${'very-'.repeat(10)}long.example.com`;

export async function console_(driver, service) {
  const root = await driver.visitor('console');
  const menu = (name) => root.follow(name, { within: root.page.getByRole('navigation') });

  // Nobody else gets in.
  await service.person('Mallory', 'mallory@example.com');
  const mallory = await driver.visitor('console-refused');
  await mallory.goto(`${service.issuer}/account`);
  await mallory.signIn('mallory@example.com');
  assert.equal(await mallory.page.getByRole('link', { name: 'Console' }).count(), 0);
  await mallory.goto(`${service.issuer}/console`, 403);
  await mallory.says('This page is for administrators.');
  await mallory.picture('refused');
  await mallory.close();

  await root.goto(`${service.issuer}/account`);
  await root.signIn(ROOT);
  await root.follow('Console');
  await root.says('Overview', service.issuer, 'all is well', 'written');
  await root.picture('overview');

  // Users.
  await menu('Users');
  await root.follow('Make an account…');
  await root.picture('new-user');
  await root.fill({ Name: LONG, 'E-mail': 'nobody@example.com', 'First password': 'short' });
  await root.press('Make the account', { status: 400 });
  await root.says('at least 8 characters');
  assert.equal(await root.field('Name').inputValue(), LONG, 'what was typed is kept');
  await root.picture('new-user-problem');
  await root.fill({ 'First password': PASSWORD, 'E-mail': ROOT });
  await root.press('Make the account', { status: 400 });
  await root.says('The email is taken.');
  await root.fill({ 'E-mail': LONG_ADDRESS, 'User name': 'count', 'First password': PASSWORD });
  await root.press('Make the account');
  await root.says('The account is made.', 'The person is not signed in.');
  const count = root.page.url();
  const theirs = await driver.visitor('console-count');
  const theySignIn = async (password, status) => {
    await theirs.goto(`${service.issuer}/account`);
    await theirs.signIn('count', { password, status });
  };
  await theySignIn(PASSWORD);
  await theirs.goto(service.authorize({}));
  await theirs.press('Allow');
  await root.goto(count);
  await root.says('127.0.0.1', service.shop);
  await root.picture('user');
  await root.page.locator('summary').click();
  await root.fill({ Name: 'Count von Long', 'Phone number': '+1 202 555 0100', Country: 'Transylvania' });
  await root.field('The number is known to be the person’s').check();
  await root.picture('user-profile');
  await root.field('The address is known to be the person’s').check();
  await root.press('Save');
  await root.says('The account is changed.');
  assert(await root.field('The address is known to be the person’s').isChecked());
  await root.fill({ Password: 'yet another long password' });
  await root.press('Set the password');
  await root.says('The password is set, and the person signed out everywhere.', 'The person is not signed in.');
  await theirs.goto(`${service.issuer}/account`);
  await theirs.says('Sign in');
  await theySignIn(PASSWORD, 400);
  await theySignIn('yet another long password');
  await root.press('Disable');
  await root.says('disabled');
  await root.picture('user-disabled');
  await theySignIn('yet another long password', 400);
  await root.press('Enable');
  await theySignIn('yet another long password');
  assert.equal(await theirs.field('Name').inputValue(), 'Count von Long');
  assert.equal(await theirs.field('Country').inputValue(), 'Transylvania');
  await theirs.says(/\+1 202 555 0100 verified/);
  await theirs.close();
  await menu('Users');
  await root.says(LONG_ADDRESS);
  await root.picture('users');
  await root.follow('Root');
  await root.says('This is your own account');
  assert.equal(await root.button('Disable').count() + await root.button('Delete').count(), 0);
  await root.goto(count);
  await root.field(/All that belongs to the account goes with it/).check();
  await root.press('Delete');
  await root.says('is deleted.');
  await root.saysNot(LONG_ADDRESS);
  await root.goto(count, 404);

  // Clients.
  await root.goto(`${service.issuer}/console/clients`);
  await root.follow('Register a client…');
  await root.picture('new-client');
  await root.fill({ Name: LONG, Scope: 'no-such-scope' });
  await root.field('http://127.0.0.1:9000', root.page.getByRole('group', { name: 'Resources that it may ask tokens for' })).check();
  await root.press('Register', { status: 400 });
  await root.picture('new-client-problem');
  await root.fill({
    Identifier: 'long-shop', Scope: 'openid profile read write', 'Default scope': 'read',
    'Redirect URIs': `https://${'sub.'.repeat(30)}example.com/${'callback/'.repeat(12)}\nhttp://127.0.0.1/callback`,
    'Redirect URIs after signing out': 'https://shop.example.com/', 'Origins whose scripts may call': 'https://shop.example.com',
    'How many seconds its access tokens live': '120', Website: 'https://shop.example.com/',
  });
  await root.field('How it proves itself').selectOption('client_secret_post');
  await root.field('What its ID tokens are signed with').selectOption('ES256');
  for (const grant of ['client_credentials', 'authorization_code', 'refresh_token']) await root.field(grant).check();
  await root.press('Register');
  await root.says('The client is registered.');
  const [secret] = await root.secrets();
  const client = await service.admin('GET', '/admin/clients/long-shop');
  assert.deepEqual(
    [client.token_endpoint_auth_method, client.access_token_lifetime, client.id_token_signed_response_alg, client.scope,
      client.default_scope, client.allowed_origins, client.post_logout_redirect_uris, client.require_pkce, client.consent],
    ['client_secret_post', 120, 'ES256', 'openid profile read write', 'read', ['https://shop.example.com'],
      ['https://shop.example.com/'], true, 'required']);
  await root.picture('client-registered');
  const token = async (client_secret) => {
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'long-shop', client_secret });
    return (await (await fetch(`${service.issuer}/oauth2/token`, { method: 'POST', body })).json());
  };
  assert.equal((await token(secret)).expires_in, 120);
  await root.page.reload();
  assert.deepEqual(await root.secrets(), [], 'it is shown once');
  await root.page.getByText('Signing out, tokens, scripts and links').click();
  await root.picture('client-all-fields');
  await root.fill({ Name: 'Long shop', 'How many seconds its access tokens live': '' });
  await root.press('Save');
  await root.says('The client is changed.');
  assert.equal((await service.admin('GET', '/admin/clients/long-shop')).access_token_lifetime, null);
  await root.fill({ 'For how many hours the old one still counts': '1' });
  await root.press('Make a new secret');
  const [renewed] = await root.secrets();
  const issued = (await token(renewed)).access_token;
  assert((await token(secret)).access_token, 'the old one counts for an hour');
  await menu('Clients');
  await root.says('Long shop', 'long-shop');
  await root.picture('clients');

  // Resources.
  await menu('Resources');
  await root.says('http://127.0.0.1:9000', 'read', 'write');
  await root.picture('resources');

  // Revocations.
  const active = async () => (await (await fetch(`${service.issuer}/oauth2/introspect`, {
    method: 'POST',
    body: new URLSearchParams({ token: issued, client_id: 'long-shop', client_secret: renewed }),
  })).json()).active;
  assert.equal(await active(), true);
  await menu('Revocations');
  await root.picture('revocations');
  const ofClient = root.part('Everything of a client');
  await root.fill({ 'Its identifier': 'long-shop' });
  await root.field(/Whoever holds such a token/, ofClient).check();
  await root.press('Revoke', { within: ofClient });
  await root.says('Everything of long-shop up to now is revoked.');
  assert.equal(await active(), false);

  // The audit trail.
  await menu('Audit trail');
  await root.picture('audit');
  await root.fill({ What: 'client.secret_rotated', 'To what': 'long-shop' });
  await root.press('Search');
  const rows = root.page.locator('tbody tr');
  assert.equal(await rows.count(), 1);
  assert.match(await rows.first().innerText(), /client\.secret_rotated.*user_.*long-shop/s);
  await root.picture('audit-found');
  await root.fill({ What: 'nothing.of_this_name' });
  await root.press('Search');
  await root.says('Nothing was found.');
  await root.picture('audit-nothing');

  await root.goto(`${service.issuer}/console/clients/long-shop`);
  await root.field(/Every token of this client is revoked/).check();
  await root.press('Delete');
  await root.says('The client long-shop is deleted');
  await root.follow('Sign out', { within: root.page.locator('header') });
  await root.press('Sign out');
  await root.goto(`${service.issuer}/console`);
  await root.says('Sign in');
  await root.close();
  return 'the console: overview, users, clients, resources, revocations, audit trail, signed out';
}
