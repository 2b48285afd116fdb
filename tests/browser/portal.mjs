// What people see and change of their own accounts.
import assert from 'node:assert/strict';
import { PASSWORD } from './service.mjs';

const ADA = 'ada@example.com';
const NEW_ADDRESS = 'ada.lovelace@example.org';
const NEW_PASSWORD = 'another sentence that nobody guesses';

export async function portal(driver, service) {
  await service.person('Ada', ADA);
  await service.person('Grace', 'grace@example.com');
  const ada = await driver.visitor('portal');
  const menu = (name) => ada.follow(name, { within: ada.page.getByRole('navigation') });

  await ada.goto(`${service.issuer}/account`);
  await ada.says('Sign in');
  await ada.picture('sign-in');
  await ada.signIn(ADA);

  // Profile.
  await ada.says('Your profile', ADA, 'not verified');
  await ada.picture('profile');
  await ada.fill({ Name: 'Augusta Ada King, Countess of Lovelace', Website: 'https://ada.example', 'Phone number': '+44 20 7946 0958' });
  await ada.fill({ 'Date of birth': '1815-12-10', 'Street and number': '12 St James’s Square\nSecond floor', Town: 'London' });
  await ada.press('Save');
  await ada.says('Your profile is changed.');
  await ada.picture('profile-changed');
  await ada.page.reload();
  await ada.saysNot('Your profile is changed.');
  assert.equal(await ada.field('Name').inputValue(), 'Augusta Ada King, Countess of Lovelace');
  assert.equal(await ada.field('Street and number').inputValue(), '12 St James’s Square\nSecond floor');
  await ada.fill({ Nickname: 'x\u0007' });
  await ada.press('Save', { status: 400 });
  await ada.picture('profile-problem');
  await ada.goto(`${service.issuer}/account`);
  await ada.says('+44 20 7946 0958', 'not verified');

  // E-mail.
  await ada.follow('Change your e-mail address');
  await ada.picture('email');
  await ada.fill({ 'New e-mail address': 'GRACE@example.com' });
  await ada.press('Change the address', { status: 400 });
  await ada.says('The email is taken.');
  await ada.picture('email-taken');
  await ada.fill({ 'New e-mail address': NEW_ADDRESS });
  await ada.press('Change the address');
  await ada.says('Your e-mail address is changed.', NEW_ADDRESS, 'not verified');

  // Password: every other session ends.
  const elsewhere = await driver.visitor('portal-elsewhere');
  await elsewhere.goto(`${service.issuer}/account`);
  await elsewhere.signIn(ADA, { status: 400 });
  await elsewhere.signIn(NEW_ADDRESS);
  await elsewhere.says('Your profile');
  await menu('Password');
  await ada.picture('password');
  const change = { 'Present password': 'not the password', 'New password': NEW_PASSWORD, 'New password, once more': NEW_PASSWORD };
  await ada.fill(change);
  await ada.press('Change the password', { status: 400 });
  await ada.says('The present password is not right.');
  await ada.picture('password-wrong');
  await ada.fill({ ...change, 'Present password': PASSWORD });
  await ada.press('Change the password');
  await ada.says('Your password is changed.');
  await elsewhere.goto(`${service.issuer}/account`);
  await elsewhere.says('Sign in');
  await elsewhere.signIn(NEW_ADDRESS, { password: NEW_PASSWORD });

  // Sessions.
  await menu('Sessions');
  await ada.says('Where you are signed in', 'this browser', 'Chrome on Linux');
  assert.equal(await ada.button('Sign out there').count(), 1);
  await ada.picture('sessions');
  await ada.press('Sign out there');
  await ada.says('The session has ended.');
  assert.equal(await ada.button('Sign out there').count(), 0);
  await elsewhere.goto(`${service.issuer}/account`);
  await elsewhere.says('Sign in');
  await elsewhere.close();

  // Applications that were let in.
  await menu('Access');
  await ada.says('You have let no application in.');
  await ada.picture('access-empty');
  await ada.goto(service.authorize({}));
  await ada.press('Allow');
  await ada.goto(`${service.issuer}/account/consents`);
  await ada.says('Shop of wonders');
  await ada.picture('access');
  await ada.press('Take the access away from Shop of wonders');
  await ada.says('The application has no access any more.', 'You have let no application in.');
  await ada.goto(service.authorize({ prompt: 'none' }));
  assert.equal(service.answer(ada.page.url()).get('error'), 'consent_required');

  // API keys.
  await ada.goto(`${service.issuer}/account/api-keys`);
  await ada.says('You have no API key.');
  await ada.picture('api-keys-empty');
  await ada.fill({ 'What it is for': 'Nightly backup' });
  await ada.press('Make a key', { status: 400 });
  await ada.says('Choose what the key permits.');
  await ada.picture('api-keys-problem');
  assert.equal(await ada.field('What it is for').inputValue(), 'Nightly backup', 'what was typed is kept');
  await ada.field(/read$/).check();
  await ada.fill({ 'For how many days': '90' });
  await ada.press('Make a key');
  await ada.says('You have a new API key.', 'Nightly backup');
  const [key] = await ada.secrets();
  const asked = () => fetch(`${service.issuer}/oauth2/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: key,
      subject_token_type: 'urn:signet:params:oauth:token-type:api_key', resource: 'http://127.0.0.1:9000',
    }),
  });
  await ada.picture('api-keys');
  await ada.page.reload();
  assert.deepEqual(await ada.secrets(), [], 'it is shown once');
  await ada.saysNot(key);
  const exchanged = await asked();
  assert.equal(exchanged.status, 200, await exchanged.text());
  await ada.press('Revoke Nightly backup');
  await ada.says('The API key is revoked.', 'You have no API key.');
  assert.equal((await asked()).status, 400, 'it is of no use any more');
  await ada.close();
  return 'the portal: profile, e-mail, password, sessions, access, API keys';
}
