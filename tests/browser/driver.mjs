// A browser, and a visitor who uses it as people do: looks for labels and buttons, reads what the page says.
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { PASSWORD } from './service.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const DESK = { width: 1200, height: 800 };
const LOOKS = {
  dark: { colorScheme: 'dark', viewport: DESK },
  phone: { colorScheme: 'light', viewport: { width: 390, height: 844 } },
  // The last: what follows goes on in it.
  light: { colorScheme: 'light', viewport: DESK },
};

// Colours differ between light and dark, what a page is made of does not.
const RULES = {
  light: {},
  dark: { runOnly: ['color-contrast'] },
  phone: { runOnly: ['target-size', 'scrollable-region-focusable'] },
};

export class Driver {
  static async launch(executablePath, pictures) {
    if (pictures) await mkdir(pictures, { recursive: true });
    const driver = new Driver();
    driver.browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
    return Object.assign(driver, { pictures });
  }

  close() {
    return this.browser.close();
  }

  // A browser with no cookies yet. `area` stands in the names of its pictures.
  async visitor(area, options = {}) {
    const context = await this.browser.newContext({ viewport: DESK, colorScheme: 'light', ...options });
    context.setDefaultTimeout(15_000);
    const visitor = new Visitor();
    return Object.assign(visitor, { area, driver: this, context }).begin();
  }
}

export class Visitor {
  // Faults that a person would not see: a script or a style that the policy refused, something that is missing.
  faults = [];
  pictures = 0;

  async begin() {
    this.page = await this.context.newPage();
    this.page.on('pageerror', (error) => this.faults.push(String(error)));
    this.page.on('console', (message) => {
      const isPageItself = message.location().url === this.page.url();
      if (message.type() === 'error' && !isPageItself) this.faults.push(`${message.text()} ${message.location().url}`);
    });
    this.page.on('response', (response) => {
      const request = response.request();
      if (request.isNavigationRequest()) this.status = response.status();
    });
    return this;
  }

  async close() {
    assert.deepEqual(this.faults, [], `${this.area}: faults of the pages`);
    await this.context.close();
  }

  async goto(url, status = 200) {
    await this.page.goto(url);
    this.answered(status);
  }

  answered(status) {
    assert.equal(this.status, status, `${this.page.url()} answers ${this.status}`);
  }

  // Does what leads to another page, and waits until that is there.
  async leads(act, status = 200) {
    const loaded = this.page.waitForEvent('load');
    await act();
    await loaded;
    this.answered(status);
  }

  button(name, within = this.page) {
    return within.getByRole('button', { name, exact: true });
  }

  press(name, { within, status } = {}) {
    return this.leads(() => this.button(name, within).click(), status);
  }

  follow(name, { within = this.page, status } = {}) {
    return this.leads(() => within.getByRole('link', { name, exact: true }).click(), status);
  }

  field(label, within = this.page) {
    return within.getByLabel(label, { exact: true });
  }

  async fill(values, within) {
    for (const [label, value] of Object.entries(values)) await this.field(label, within).fill(value);
  }

  // The panel, or the row of a table, that has this text.
  part(text) {
    return this.page.locator('main section, main form, main tr, main dl > div').filter({ hasText: text }).last();
  }

  async says(...texts) {
    const said = await this.text();
    for (const text of texts) assert(matches(said, text), `${this.page.url()} does not say ${text}:\n${said}`);
  }

  async saysNot(...texts) {
    const said = await this.text();
    for (const text of texts) assert(!matches(said, text), `${this.page.url()} says ${text}:\n${said}`);
  }

  async text() {
    return (await this.page.locator('main').innerText()).replaceAll(/\s+/g, ' ');
  }

  // What is shown only once.
  async secrets() {
    return this.page.locator('.notice ul.shown code').allInnerTexts();
  }

  // Signs in on the page that is there.
  async signIn(name, { password = PASSWORD, status } = {}) {
    await this.fill({ 'E-mail or user name': name, Password: password });
    await this.press('Sign in', { status });
  }

  // A picture in every look, if they are wanted. The page must fit, and must be fit for people who see little or nothing.
  async picture(name) {
    this.pictures += 1;
    const file = `${this.area}-${String(this.pictures).padStart(2, '0')}-${name}`;
    for (const [look, { colorScheme, viewport }] of Object.entries(LOOKS)) {
      await this.page.emulateMedia({ colorScheme });
      await this.page.setViewportSize(viewport);
      // What has changed its place is drawn anew first.
      await this.page.evaluate(() =>
        new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
      await this.keep(`${file}-${look}`, { fullPage: true });
      const wide = await this.page.evaluate(() =>
        document.documentElement.scrollWidth > document.documentElement.clientWidth);
      assert(!wide, `${name} scrolls sideways in ${look}`);
      await this.accessible(`${name} in ${look}`, RULES[look]);
    }
  }

  async keep(name, options) {
    const { pictures } = this.driver;
    if (pictures) await this.page.screenshot({ path: `${pictures}/${name}.png`, ...options });
  }

  async accessible(what, rules) {
    if (!await this.page.evaluate(() => 'axe' in globalThis)) await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate((options) => globalThis.axe.run(options), rules);
    const told = violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join('\n')}`);
    assert.equal(told.length, 0, `${what} is not accessible:\n${told.join('\n')}`);
  }
}

function matches(said, text) {
  return text instanceof RegExp ? text.test(said) : said.includes(text);
}
