// The pages that a client's request leads to: sign-in, consent, the code out of band, refusals, sign-out.
import assert from 'node:assert/strict';
import { OUT_OF_BAND } from './service.mjs';

const ALICE = 'alice@example.com';

export async function signIn(driver, service) {
  await service.person('Alice Wonderland', ALICE);
  const visitor = await driver.visitor('sign-in');
  const answer = () => service.answer(visitor.page.url());

  await visitor.goto(service.authorize({ prompt: 'consent' }));
  await visitor.page.waitForSelector('input[name=username]:focus');
  await visitor.says('Sign in to Shop of wonders');
  await visitor.picture('sign-in');
  await visitor.signIn(ALICE, { password: 'not the password', status: 400 });
  assert.equal(await visitor.field('E-mail or user name').inputValue(), ALICE, 'what was typed is kept');
  assert.equal(await visitor.field('Password').inputValue(), '', 'but no password');
  assert.match(await visitor.page.title(), /^Error: /);
  assert(await visitor.page.getByRole('alert').isVisible());
  await visitor.picture('wrong-password');

  await visitor.signIn(ALICE);
  await visitor.says('Allow access to Shop of wonders', 'signed in as Alice Wonderland', 'read');
  await visitor.picture('consent');
  await visitor.press('Deny');
  assert.equal(answer().get('error'), 'access_denied');
  await visitor.goto(service.authorize({ prompt: 'none' }));
  assert.equal(answer().get('error'), 'consent_required', 'what was denied is not remembered as allowed');

  await visitor.goto(service.authorize({}));
  await visitor.press('Allow');
  assert(answer().get('code'));
  await visitor.goto(service.authorize({ prompt: 'none' }));
  assert(answer().get('code'), 'what was allowed is remembered');

  await visitor.goto(service.authorize({ prompt: 'select_account' }));
  await visitor.says('Sign in to Shop of wonders', 'Continue as Alice Wonderland', 'or use another account');
  await visitor.picture('select-account');
  await visitor.press('Continue as Alice Wonderland');
  assert(answer().get('code'), 'whoever goes on as who they are is asked nothing more');

  await visitor.page.goto(service.authorize({ response_mode: 'form_post' }));
  await visitor.page.waitForURL(service.redirectUri);

  await visitor.goto(service.authorize({ client_id: service.terminal, redirect_uri: OUT_OF_BAND, scope: 'read' }));
  await visitor.press('Allow');
  assert((await visitor.page.locator('code#code').innerText()).length > 20);
  await visitor.picture('out-of-band');
  await visitor.goto(
    service.authorize({ client_id: service.terminal, redirect_uri: OUT_OF_BAND, scope: 'read', prompt: 'consent' }));
  await visitor.press('Deny', { status: 400 });
  await visitor.says('The application gets no access', 'The person did not allow it.');
  await visitor.picture('out-of-band-denied');

  await visitor.goto(service.authorize({ redirect_uri: 'https://elsewhere.example/' }), 400);
  await visitor.says('redirect_uri');
  await visitor.picture('refused');
  await visitor.goto(`${service.issuer}/oauth2/consent`, 405);
  await visitor.says('This page can’t be opened by its address');
  await visitor.picture('form-opened');
  await visitor.follow('My account');
  await visitor.goto(`${service.issuer}/nowhere`, 404);
  await visitor.says('There is nothing here');
  await visitor.picture('no-such-page');

  // A logo is really drawn under the page's policy, and its host is told nothing: neither a cookie, of which this one would get
  // the service's own, nor where it is shown.
  const logo = visitor.page.locator('img.logo');
  const width = () => logo.evaluate((image) => image.decode().then(() => image.naturalWidth, () => 0));
  const gallery = service.authorize({ client_id: service.gallery, prompt: 'login' });
  await visitor.goto(gallery);
  assert.equal(await width(), 120, 'the logo is shown at sign-in');
  await visitor.picture('logo');
  await visitor.signIn(ALICE);
  await visitor.says('Allow access to Gallery of wonders');
  assert.equal(await width(), 120, 'and where access is allowed');
  await visitor.picture('consent-logo');
  assert(service.logoRequests.length > 0);
  for (const { cookie, referer } of service.logoRequests) assert.deepEqual([cookie, referer], [undefined, undefined]);
  // One that can't be had leaves the first letter.
  const missing = new URL('/missing.svg', service.redirectUri).href;
  await service.admin('PATCH', `/admin/clients/${service.gallery}`, { logo_uri: missing });
  const noise = visitor.faults.length;
  await visitor.goto(gallery);
  assert.equal(await width(), 0);
  const letter = await logo.evaluate((image) => getComputedStyle(image, '::after').content);
  assert.equal(letter, '"G"');
  await visitor.picture('logo-missing');
  const missed = visitor.faults.splice(noise);
  assert(missed.every((fault) => fault.includes(missing)), missed.join());

  await visitor.goto(`${service.issuer}/oauth2/logout`);
  await visitor.says('Do you want to sign out?');
  await visitor.picture('sign-out');
  await visitor.press('Stay signed in');
  await visitor.goto(`${service.issuer}/account`);
  await visitor.says('Your profile');
  await visitor.goto(`${service.issuer}/oauth2/logout`);
  await visitor.press('Sign out');
  await visitor.picture('signed-out');
  await visitor.goto(service.authorize({ prompt: 'none' }));
  assert.equal(answer().get('error'), 'login_required');
  await visitor.close();
  return 'signed in, wrong password, allowed and denied, an account chosen, out of band, refused, nowhere, a logo, signed out';
}
