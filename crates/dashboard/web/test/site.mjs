// A browser at a dashboard, which fails on whatever a page must not do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gunzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const PATIENCE_MS = 20000;

export async function launch() {
  // As root there is no sandbox to be had; what is opened is our own page.
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
}

export class Site {
  faults = [];

  static async open(browser, link, options = {}) {
    const site = new Site();
    site.origin = new URL(link).origin;
    site.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light', ...options });
    // What was just built, without building knarr: for trying things.
    if (process.env.DIST) {
      await site.context.route('**/assets/*', (route) => {
        const name = new URL(route.request().url()).pathname.split('/').pop();
        const type = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' }[name.split('.').pop()];
        return route.fulfill({ contentType: type ?? 'text/plain', body: gunzipSync(readFileSync(`${process.env.DIST}/${name}.gz`)) });
      });
    }
    site.page = await site.context.newPage();
    const { page } = site;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => site.faults.push(`error: ${error.stack}`));
    page.on('dialog', (dialog) => {
      site.faults.push(`a script of the cluster's ran: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('console', (message) => {
      const text = message.text();
      if (/Content Security Policy|TrustedHTML|Trusted Type/i.test(text)) site.faults.push(`policy: ${text}`);
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== site.origin) site.faults.push(`a request elsewhere: ${request.url()}`);
    });
    page.on('requestfailed', (request) => {
      // What is no longer wanted is given up; Chromium breaks requests off when the machine gets or loses a link.
      const why = request.failure()?.errorText ?? '';
      if (!['net::ERR_ABORTED', 'net::ERR_NETWORK_CHANGED'].includes(why)) site.faults.push(`${request.url()}: ${why}`);
    });
    await page.goto(link);
    await page.waitForURL(`${site.origin}/`);
    return site;
  }

  async go(hash) {
    await this.page.goto(`${this.origin}/${hash}`);
  }

  /** What axe finds: nothing. It is run beside the page's policy, which would not let it in. */
  async accessible(what) {
    await this.page.evaluate(`${axeSource}; undefined`);
    const found = await this.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], rules: { region: { enabled: false } } }));
    const lines = found.violations.map((one) => `${one.id} (${one.impact}): ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
    assert.deepEqual(lines, [], `${what} is not accessible`);
  }

  async picture(name) {
    if (process.env.PICTURES) await this.page.screenshot({ path: `${process.env.PICTURES}/${name}.png` });
  }

  blameless() {
    assert.deepEqual(this.faults, []);
  }
}
