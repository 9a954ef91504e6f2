// Measures a dashboard at a cluster with many pods: LINK=… node test/measure.mjs
import { Site, launch } from './site.mjs';

const browser = await launch();
const began = performance.now();
const site = await Site.open(browser, process.env.LINK);
const { page } = site;
await page.locator('[data-figure="nodes"]').filter({ hasText: /[1-9]/ }).waitFor();
console.log(`overview after ${Math.round(performance.now() - began)} ms`);
await page.goto('about:blank');
const again = performance.now();
await page.goto(`${site.origin}/`);
await page.getByRole('heading', { name: 'Overview' }).waitFor();
console.log(`page shown after ${Math.round(performance.now() - again)} ms`);
const listing = performance.now();
await page.goto(`${site.origin}/#/list/core/v1/pods`);
await page.locator('.table tbody a').first().waitFor();
console.log(`first rows after ${Math.round(performance.now() - listing)} ms`);
await page.getByRole('status').filter({ hasText: /live/ }).waitFor({ timeout: 120000 });
console.log(`${await page.getByRole('status').textContent()} after ${Math.round(performance.now() - listing)} ms`);
const frames = await page.evaluate(async () => {
  const box = document.querySelector('.table');
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < 300; i++) {
    box.scrollTop = (box.scrollHeight * i) / 300;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times.sort((a, b) => a - b);
});
console.log(`frame while scrolling: median ${frames[150].toFixed(1)} ms, 99 % ${frames[297].toFixed(1)} ms, worst ${frames[299].toFixed(1)} ms`);
const heap = await page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
console.log(`rows in the page: ${await page.locator('.table tbody tr').count()}, script heap ${Math.round(heap / 2 ** 20)} MiB`);
await browser.close();
