// Drives a real browser through the pages of a running service and keeps a picture of each.
//
// node flow.mjs ISSUER PICTURES, with CLIENT_ID, OOB_CLIENT_ID, SIGN_IN_NAME, PASSWORD and CHROMIUM in the environment.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { mkdir } from 'node:fs/promises';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [issuer, pictures] = process.argv.slice(2);
const { CLIENT_ID, OOB_CLIENT_ID, SIGN_IN_NAME, PASSWORD, CHROMIUM } = process.env;
await mkdir(pictures, { recursive: true });

const looks = {
  light: { colorScheme: 'light', viewport: { width: 1100, height: 800 } },
  dark: { colorScheme: 'dark', viewport: { width: 1100, height: 800 } },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
};

// The client: shows what it was sent.
const callback = createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.end(request.url);
}).listen(0, '127.0.0.1');
await new Promise((ready) => callback.on('listening', ready));
const redirectUri = `http://127.0.0.1:${callback.address().port}/callback`;

const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const challenge = createHash('sha256').update(verifier).digest('base64url');

function authorize(parameters) {
  const query = new URLSearchParams({
    response_type: 'code', client_id: CLIENT_ID, redirect_uri: redirectUri, scope: 'openid profile email', state: 's1',
    code_challenge: challenge, code_challenge_method: 'S256', ...parameters,
  });
  return `${issuer}/oauth2/authorize?${query}`;
}

// Faults that a person would not see: a script or a style that the policy refused, a failed request of the page.
function watch(page, faults) {
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(String(error)));
}

async function picture(page, look, name) {
  await page.screenshot({ path: `${pictures}/${name}-${look}.png`, fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert(!wide, `${name} scrolls sideways in ${look}`);
}

async function signIn(page, password = PASSWORD) {
  await page.fill('input[name=username]', SIGN_IN_NAME);
  await page.fill('input[name=password]', password);
  await page.press('input[name=password]', 'Enter');
}

async function answer(page) {
  await page.waitForURL(`${redirectUri}?**`);
  const parameters = new URL(page.url()).searchParams;
  assert.equal(parameters.get('state'), 's1');
  assert.equal(parameters.get('iss'), issuer);
  return parameters;
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
try {
  for (const [look, options] of Object.entries(looks)) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const faults = [];
    watch(page, faults);

    await page.goto(authorize({ prompt: 'consent' }));
    await picture(page, look, 'sign-in');
    await page.waitForSelector('input[name=username]:focus');
    await signIn(page, 'not the password');
    await page.waitForSelector('[role=alert]');
    await picture(page, look, 'wrong-password');
    faults.length = 0; // The refusal's own status is shown as an error.

    await signIn(page);
    await page.waitForSelector('button[name=decision][value=deny]');
    await picture(page, look, 'consent');
    await page.click('button[name=decision][value=deny]');
    assert.equal((await answer(page)).get('error'), 'access_denied');

    await page.goto(authorize({ prompt: 'consent' }));
    await page.click('button[name=decision][value=allow]');
    assert((await answer(page)).get('code'));

    await page.goto(authorize({ prompt: 'none' }));
    assert((await answer(page)).get('code'), 'what was allowed is remembered');

    await page.goto(authorize({ response_mode: 'form_post' }));
    await page.waitForURL(redirectUri);

    await page.goto(authorize({ client_id: OOB_CLIENT_ID, redirect_uri: 'urn:ietf:wg:oauth:2.0:oob', prompt: 'consent' }));
    await page.click('button[name=decision][value=allow]');
    await page.waitForSelector('code#code');
    await picture(page, look, 'out-of-band');

    await page.goto(authorize({ redirect_uri: 'https://elsewhere.example/' }));
    assert.match(await page.textContent('main'), /redirect_uri/);
    await picture(page, look, 'error');
    faults.length = 0;

    await page.goto(`${issuer}/oauth2/logout`);
    await picture(page, look, 'log-out');
    await page.click('button[value=sign-out]');
    await page.waitForLoadState();
    await picture(page, look, 'signed-out');
    await page.goto(authorize({ prompt: 'none' }));
    assert.equal((await answer(page)).get('error'), 'login_required');

    assert.deepEqual(faults, []);
    await context.close();
    console.log(`${look}: signed in, allowed and denied, out of band, refused, signed out`);
  }

  // Without scripts, by the keyboard alone.
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(authorize({ prompt: 'consent' }));
  // The page gives it the focus once it is drawn; what is typed before that goes nowhere.
  await page.waitForSelector('input[name=username]:focus');
  await page.keyboard.type(SIGN_IN_NAME);
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await page.waitForSelector('button[name=decision][value=allow]');
  await page.focus('button[name=decision][value=allow]');
  await page.keyboard.press('Enter');
  assert((await answer(page)).get('code'));
  console.log('without scripts, by the keyboard: signed in and allowed');
} finally {
  await browser.close();
  callback.close();
}
