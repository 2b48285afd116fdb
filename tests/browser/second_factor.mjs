// The second factor: set up in the portal, asked for at the next sign-in, replaced by a recovery code, removed.
import { createHmac } from 'node:crypto';
import assert from 'node:assert/strict';

const WALTER = 'walter@example.com';
const STEP = 30;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

// An authenticator app (RFC 6238). No code of it is used twice, as the service wants it; that of the next step is taken
// a little early.
class App {
  last = 0;

  constructor(secret) {
    const bits = [...secret.replaceAll(' ', '')].map((c) => ALPHABET.indexOf(c).toString(2).padStart(5, '0')).join('');
    this.key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  }

  code() {
    this.last = Math.max(this.last + 1, Math.floor(Date.now() / 1000 / STEP));
    return this.at(this.last);
  }

  at(step) {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const mac = createHmac('sha1', this.key).update(counter).digest();
    const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
    return String(number % 1_000_000).padStart(6, '0');
  }

  // One that is right at no time near.
  wrong() {
    const near = Array.from({ length: 9 }, (_, i) => this.at(Math.floor(Date.now() / 1000 / STEP) + i - 4));
    return ['000000', '111111', '222222', '333333', '444444', '555555', '666666', '777777', '888888', '999999']
      .find((code) => !near.includes(code));
  }
}

const ASKED = 'Code from your authenticator app';

export async function secondFactor(driver, service) {
  await service.person('Walter of the two factors', WALTER);
  const page = `${service.issuer}/account/second-factor`;
  const home = await driver.visitor('second-factor');
  await home.goto(page);
  await home.signIn(WALTER);
  await home.says('Your password alone opens your account.');
  await home.picture('none');
  await home.press('Set up an authenticator app');
  const app = new App(await home.page.locator('code.secret').innerText());
  assert(await home.page.getByRole('img', { name: 'QR code for your authenticator app' }).isVisible());
  await home.picture('enrolment');
  await home.fill({ 'Code from the app': app.wrong() });
  await home.press('Use this app', { status: 400 });
  await home.says('That code is not right.');
  assert.deepEqual(new App(await home.page.locator('code.secret').innerText()).key, app.key, 'it can be tried again');
  await home.picture('wrong-code-of-enrolment');
  await home.fill({ 'Code from the app': app.code() });
  await home.press('Use this app');
  await home.says('Your authenticator app is in use from now on.', '10 unused recovery codes');
  const codes = await home.secrets();
  assert.equal(codes.length, 10);
  await home.picture('recovery-codes');
  await home.goto(page);
  assert.deepEqual(await home.secrets(), [], 'they are shown once');
  await home.picture('in-use');

  // Another browser is asked for it.
  const other = await driver.visitor('second-factor-sign-in');
  await other.goto(service.authorize({}));
  await other.signIn(WALTER);
  await other.says('One more step for Shop of wonders');
  await other.picture('asked');
  await other.fill({ [ASKED]: app.wrong() });
  await other.press('Continue', { status: 400 });
  assert(await other.page.getByRole('alert').isVisible());
  await other.picture('wrong-code');
  await other.fill({ [ASKED]: app.code() });
  await other.press('Continue');
  await other.says('Allow access to Shop of wonders');
  await other.goto(`${service.issuer}/oauth2/logout`);
  await other.press('Sign out');

  // A recovery code opens once.
  const signInByCode = async (code, status) => {
    await other.goto(`${service.issuer}/account`);
    await other.signIn(WALTER);
    await other.fill({ [ASKED]: code });
    await other.press('Continue', { status });
  };
  await signInByCode(codes[0]);
  await other.says('Your profile');
  await other.goto(`${service.issuer}/oauth2/logout`);
  await other.press('Sign out');
  await signInByCode(codes[0], 400);
  await other.says('One more step');
  await other.fill({ [ASKED]: codes[0] });
  await other.press('Continue', { status: 400 });
  await other.fill({ [ASKED]: codes[1] });
  await other.press('Continue');
  await other.says('Your profile');
  await other.close();

  await home.goto(page);
  await home.says('8 unused recovery codes');
  await home.press('Make new recovery codes');
  const anew = await home.secrets();
  assert(anew.length === 10 && !anew.includes(codes[2]));
  await home.field(/my password alone opens/).check();
  await home.press('Remove the second factor');
  await home.says('Your second factor is removed.', 'Your password alone opens your account.');
  await home.close();
  return 'a second factor enrolled, asked for, a wrong code, a recovery code once, renewed, removed';
}
