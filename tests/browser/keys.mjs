// The page of the keys: nothing is done before it was shown.
import assert from 'node:assert/strict';
import { ROOT } from './console.mjs';

export async function keys(driver, service) {
  const root = await driver.visitor('keys');
  const list = `${service.issuer}/console/keys`;
  const drawn = async () => {
    const bars = await root.page.locator('svg.timeline rect.bar').evaluateAll((all) =>
      all.map((bar) => `${bar.getAttribute('class')} ${bar.getAttribute('x')} ${bar.getAttribute('width')}`));
    return bars.join('\n');
  };
  // But for what goes on by itself.
  const all = async () =>
    (await service.admin('GET', '/admin/keys')).keys.map(({ age, fetchers, ...rest }) => rest);
  const signing = async (algorithm) => (await all()).find((key) => key.signs && key.algorithm === algorithm).kid;

  const waits = async (algorithm) =>
    (await all()).find((key) => key.phase === 'published' && key.algorithm === algorithm).kid;

  await root.goto(list);
  await root.signIn(ROOT);
  assert(await root.page.getByRole('img', { name: /^Timeline of the keys/ }).isVisible());
  assert.equal(await root.page.locator('svg.timeline line.now').count(), 1);
  assert.equal(await root.page.locator('svg.timeline line.next').count(), 1);
  for (const key of await all()) await root.says(key.kid);
  const scrolls = await root.page.locator('.scroll').evaluateAll((each) =>
    each.filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.getAttribute('aria-label')));
  assert.deepEqual(scrolls, [], 'on a desk everything of the keys can be seen at once');
  const [before, untouched] = [await drawn(), await all()];
  await root.picture('keys');

  // In peace. A fresh installation's waiting key is known to every verifier: nobody can have asked before.
  const next = await waits('ES256');
  await root.follow('Rotate…');
  await root.says('Nothing has been changed yet.', `${next} signs from`, 'Nothing breaks', 'in place of');
  await root.picture('rotation');
  await root.goto(list);
  assert.deepEqual([await drawn(), await all()], [before, untouched], 'looking changes nothing');
  await root.follow('Rotate…');
  await root.field('I have read the plan').check();
  await root.press('Rotate');
  await root.says(/The ES256 key \S+ signs at once\./);
  assert.equal(await signing('ES256'), next);
  const rotated = await drawn();
  assert.notEqual(rotated, before, 'the timeline shows it');
  await root.picture('rotated');
  // The one after it has just been published, and has to wait until its lead is over.
  await root.follow('Rotate…');
  await root.says(/in 2[34] hours/, 'Nothing breaks');
  await root.picture('rotation-later');
  await root.follow('Leave everything as it is');

  // In an emergency.
  const [old, waiting] = [await signing('ES256'), await waits('ES256')];
  await root.follow('Rotate…');
  await root.field('Which keys').selectOption('ES256');
  await root.field('At once: an emergency').check();
  await root.press('Show the plan');
  await root.says('This breaks:', waiting, 'verifiers that hold an older JWKS refuse them', 'at once');
  await root.picture('rotation-at-once');
  await root.field('I have read the plan and know that tokens will be refused').check();
  await root.press('Rotate');
  assert.equal(await signing('ES256'), waiting);
  assert.notEqual(await drawn(), rotated);
  assert((await drawn()).includes('retired'), 'the former key is drawn as retired');
  await root.picture('rotated-at-once');

  // A key that somebody else may have.
  await root.follow(`Compromised… ${old}`);
  await root.says('Nothing has been changed yet.', 'This breaks:', `every token signed with ${old} is refused`);
  await root.picture('compromise');
  await root.follow('Leave everything as it is');
  assert(!(await drawn()).includes('compromised'), 'looking changes nothing');
  await root.follow(`Compromised… ${old}`);
  await root.fill({ 'Reason, for the audit trail': 'found in a backup' });
  await root.field(/I have read the plan/).check();
  await root.press('Declare compromised');
  await root.says('is compromised.');
  assert((await drawn()).includes('compromised'));
  const jwks = await (await fetch(`${service.issuer}/.well-known/jwks.json`)).json();
  assert(!jwks.keys.some((key) => key.kid === old), 'it has left the JWKS');
  await root.picture('compromised');
  await root.goto(`${service.issuer}/console/audit?event=key.compromised`);
  await root.says('found in a backup', old);
  await root.close();
  return 'the keys: plan shown, rotated, rotated at once, compromised';
}
