// Without scripts and without a mouse.
import assert from 'node:assert/strict';
import { PASSWORD } from './service.mjs';

const EVE = 'eve@example.com';

export async function keyboard(driver, service) {
  await service.person('Eve', EVE);
  const visitor = await driver.visitor('keyboard', { javaScriptEnabled: false });
  const { page } = visitor;
  const focused = () => page.locator(':focus');
  // Goes on by Tab until the focus is on what is meant.
  const reach = async (name) => {
    for (let steps = 0; steps < 40; steps += 1) {
      await page.keyboard.press('Tab');
      const at = focused();
      const is = await at.evaluate((each) => `${each.innerText ?? ''} ${each.labels?.[0]?.innerText ?? ''}`);
      if (is.includes(name)) return at;
    }
    return assert.fail(`${name} can't be reached by Tab`);
  };

  await visitor.goto(service.authorize({ prompt: 'consent' }));
  // The page gives it the focus once it is drawn; what is typed before that goes nowhere.
  await page.waitForSelector('input[name=username]:focus');
  await page.keyboard.type(EVE);
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await visitor.leads(() => page.keyboard.press('Enter'));
  const allow = await reach('Allow');
  const ring = await allow.evaluate((each) => getComputedStyle(each).outlineStyle);
  assert.equal(ring, 'solid', 'what has the focus shows it');
  await visitor.keep('keyboard-focus');
  await visitor.leads(() => page.keyboard.press('Enter'));
  assert(service.answer(page.url()).get('code'));

  // The portal too.
  await visitor.goto(`${service.issuer}/account`);
  await page.keyboard.press('Tab');
  assert.equal(await focused().innerText(), 'To the content', 'the way past the menu comes first');
  await visitor.keep('keyboard-skip');
  await page.keyboard.press('Enter');
  await reach('Name');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('Eve of the keyboard');
  await visitor.leads(() => page.keyboard.press('Enter'));
  await visitor.says('Your profile is changed.');
  await visitor.close();
  return 'without scripts, by the keyboard: signed in, allowed, changed the name';
}
