// What people register for themselves.
import assert from 'node:assert/strict';

const MARY = 'mary@example.com';
const CALLBACK = 'https://notes.example.com/callback';

export async function applications(driver, service) {
  await service.person('Mary', MARY);
  const mary = await driver.visitor('applications');
  await mary.goto(`${service.issuer}/account/applications`);
  await mary.signIn(MARY);
  await mary.says('You have registered no application.');
  await mary.picture('empty');
  await mary.fill({ Name: 'Notes', 'Redirect URIs': 'javascript:alert(1)' });
  await mary.field(/openid$/).check();
  await mary.press('Register', { status: 400 });
  await mary.says('redirect_uris');
  assert.equal(await mary.field('Name').inputValue(), 'Notes', 'what was typed is kept');
  assert(await mary.field(/openid$/).isChecked());
  await mary.picture('problem');
  await mary.fill({ 'Redirect URIs': CALLBACK });
  await mary.press('Register');
  await mary.says('Your application is registered.');
  const [secret] = await mary.secrets();
  const path = mary.page.url();
  const clientId = path.split('/').at(-1);
  await mary.says(clientId);
  const snippets = async () => (await mary.page.locator('pre').allInnerTexts()).join('\n');
  for (const part of [`client_id=${clientId}`, `${clientId}:CLIENT_SECRET`, encodeURIComponent(CALLBACK), CALLBACK]) {
    assert((await snippets()).includes(part), `the snippets hold ${part}: ${await snippets()}`);
  }
  await mary.picture('registered');
  await mary.page.reload();
  assert.deepEqual(await mary.secrets(), [], 'it is shown once');
  // Who proves itself is told what is wrong with the code; who does not, that it does not.
  const asks = async (secret) => {
    const body = new URLSearchParams({ grant_type: 'authorization_code', code: 'x', redirect_uri: CALLBACK, code_verifier: 'x'.repeat(43) });
    const headers = { Authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` };
    return (await (await fetch(`${service.issuer}/oauth2/token`, { method: 'POST', headers, body })).json()).error;
  };
  assert.equal(await asks(secret), 'invalid_grant');

  const second = 'http://127.0.0.1/notes';
  await mary.fill({ Name: 'Notes and more', 'Redirect URIs': `${second}\n${CALLBACK}` });
  await mary.press('Save');
  await mary.says('Your application is changed.');
  assert((await snippets()).includes(second), 'the snippets go with it');
  await mary.press('Make a new secret');
  await mary.says('Your application has a new secret.');
  const [renewed] = await mary.secrets();
  assert.deepEqual([await asks(renewed), await asks(secret)], ['invalid_grant', 'invalid_client']);

  // What is wrong with its request is told to the person, who goes on to it only if they want to.
  await mary.goto(service.authorize({ client_id: clientId, redirect_uri: CALLBACK, scope: 'openid', prompt: 'none' }), 400);
  await mary.says('This request can’t be completed', 'an application that nobody here has looked at', 'consent_required');
  const onward = await mary.page.getByRole('link', { name: 'Go on to notes.example.com', exact: true }).getAttribute('href');
  assert.equal(new URL(onward).searchParams.get('error'), 'consent_required');
  await mary.picture('dead-end');

  // People can sign in to it.
  const state = { client_id: clientId, redirect_uri: CALLBACK, scope: 'openid' };
  await mary.goto(service.authorize(state));
  await mary.says('Allow access to Notes and more');
  await mary.goto(`${service.issuer}/account/applications`);
  await mary.follow('Notes and more');
  await mary.field(/Every token of this application is revoked/).check();
  await mary.press('Delete');
  await mary.says('Your application is deleted.', 'You have registered no application.');
  await mary.goto(service.authorize(state), 400);
  await mary.close();
  return 'an application: registered, changed, renewed, deleted';
}
