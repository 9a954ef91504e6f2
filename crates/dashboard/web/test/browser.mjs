// Opens each page of a dashboard in a browser and clicks through, against a real cluster.
//
//   LINK=… READER=… NAMESPACE=… node --test test/browser.mjs
//
// `kubectl` must reach the cluster; in the namespace are what `crates/testing/tests/e2e/dashboard.rs` puts there. READER
// is the link of a dashboard whose identity may do little.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, afterEach, before, test } from 'node:test';
import { PATIENCE_MS, Site, launch } from './site.mjs';

const { LINK, READER, NAMESPACE } = process.env;
const kubectl = (...words) => execFileSync('kubectl', ['-n', NAMESPACE, ...words], { encoding: 'utf8' });
const at = (group, plural, name, tab) => `#/object/${group}/v1/${plural}/${NAMESPACE}/${name}${tab ? `?tab=${tab}` : ''}`;

let browser;
let site;
let page;

before(async () => {
  browser = await launch();
  site = await Site.open(browser, LINK);
  page = site.page;
});
after(async () => {
  await browser?.close();
});

afterEach(async (context) => {
  if (context.passed === false) console.log(`the page: ${await page?.locator('main').innerText()}`);
});

const sees = (text, options) => page.getByText(text, options).first().waitFor();

test('the link is good once', async () => {
  const other = await browser.newContext();
  const second = await other.newPage();
  const response = await second.goto(LINK);
  assert.equal(response.status(), 403);
  assert.match(await second.textContent('body'), /used already/);
  assert.equal((await second.goto(site.origin)).status(), 401);
  await other.close();
});

test('the overview shows the cluster', async () => {
  await page.locator('[data-figure="nodes"]').filter({ hasText: /^[1-9]\d* *\/ [1-9]\d* ready/ }).waitFor();
  await page.locator('[data-figure="pods"]').filter({ hasText: /[1-9]/ }).waitFor();
  await page.getByRole('meter', { name: 'Memory' }).waitFor();
  await sees('Recent events');
  await site.accessible('the overview');
  await site.picture('overview');
});

test('a list is live, filtered, sorted and driven by keys', async () => {
  await page.getByLabel('Namespace', { exact: true }).selectOption(NAMESPACE);
  await page.keyboard.press('g');
  await page.keyboard.press('p');
  await page.getByRole('link', { name: 'talker' }).waitFor();
  assert.deepEqual(await page.locator('.table th').allTextContents(), ['Name', 'Ready', 'Status', 'Restarts', 'Age']);
  kubectl('run', 'latecomer', '--image=busybox:latest', '--image-pull-policy=Never', '--restart=Never', '--', 'sleep', '1000');
  await page.getByRole('link', { name: 'latecomer' }).waitFor();
  kubectl('delete', 'pod', 'latecomer', '--wait=false', '--grace-period=0', '--force');
  await page.getByRole('link', { name: 'latecomer' }).waitFor({ state: 'detached' });
  await page.keyboard.press('/');
  await page.keyboard.type('talk');
  await page.getByRole('status').filter({ hasText: /^1 of \d+ rows/ }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('searchbox', { name: 'Label selector' }).fill('app=web');
  await page.keyboard.press('Enter');
  await page.getByRole('searchbox', { name: 'Filter' }).fill('');
  await page.getByRole('status').filter({ hasText: /^2 rows/ }).waitFor();
  await page.getByRole('button', { name: 'Name' }).click();
  await page.getByRole('button', { name: /^Name/ }).click();
  await page.locator('th[aria-sort="descending"]').waitFor();
  const names = await page.locator('.table tbody a').allTextContents();
  assert.deepEqual(names, [...names].sort().reverse());
  await site.accessible('a list');
  await site.picture('list');
  await page.keyboard.press('Escape');
  await page.locator('h1').click();
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /^Pod web-/ }).waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  await site.accessible('the help');
  await page.keyboard.press('Escape');
  site.blameless();
});

test('every kind that is served is there', async () => {
  await site.go('#/kinds');
  await page.getByRole('link', { name: 'CustomResourceDefinition' }).click();
  await page.getByRole('heading', { name: 'CustomResourceDefinition' }).waitFor();
});

test('an object is described, and what others wrote is text', async () => {
  await site.go(at('core', 'configmaps', 'hostile'));
  await sees('<img src=x onerror=alert(1)>');
  await page.getByRole('button', { name: 'YAML' }).click();
  await page.locator('.cm-content').filter({ hasText: '<script>alert(2)</script>' }).waitFor();
  assert.equal(await page.locator('img').count(), 1);
  assert.equal(await page.locator('.cm-content img, .cm-content script').count(), 0);
  await site.accessible('the YAML');
  site.blameless();
});

async function type(line, text) {
  const row = page.locator('.cm-line').filter({ hasText: line });
  await row.click();
  await page.keyboard.press('End');
  await page.keyboard.press('Shift+Home');
  await page.keyboard.type(text);
}

test('YAML is edited, compared and applied; conflicts are shown', async () => {
  await site.go(at('core', 'configmaps', 'plain', 'yaml'));
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('.cm-content[contenteditable="true"]').waitFor();
  await type('free: "1"', 'free: "2"');
  await page.getByRole('button', { name: 'Review changes' }).click();
  await page.locator('.diff .removed').filter({ hasText: 'free: "1"' }).waitFor();
  await page.locator('.diff .added').filter({ hasText: 'free: "2"' }).waitFor();
  assert.equal(kubectl('get', 'cm', 'plain', '-o', 'jsonpath={.data.free}'), '1', 'nothing is done before');
  await site.accessible('the changes');
  await site.picture('diff');
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await sees('Done', { exact: true });
  assert.equal(kubectl('get', 'cm', 'plain', '-o', 'jsonpath={.data.free}'), '2');
  await page.locator('.cm-line').filter({ hasText: 'free: "2"' }).waitFor();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('.cm-content[contenteditable="true"]').waitFor();
  await type('owned: theirs', 'owned: mine');
  await page.getByRole('button', { name: 'Review changes' }).click();
  await page.getByRole('region', { name: 'Others own these fields' }).filter({ hasText: '.data.owned' }).filter({ hasText: 'their-tool' }).waitFor();
  await page.getByRole('button', { name: 'Take over' }).click();
  await sees('Done', { exact: true });
  // What was applied before is not taken away by the next apply.
  assert.equal(kubectl('get', 'cm', 'plain', '-o', 'jsonpath={.data}'), '{"free":"2","owned":"mine"}');
  // What an apply cannot take away goes by a replacement.
  await page.locator('.cm-line').filter({ hasText: 'owned: mine' }).waitFor();
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('.cm-content[contenteditable="true"]').waitFor();
  await page.locator('.cm-line').filter({ hasText: 'owned: mine' }).click();
  await page.keyboard.press('Control+Shift+K');
  await page.getByRole('button', { name: 'Review changes' }).click();
  await sees('Replacement of the object');
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await sees('Done', { exact: true });
  assert.equal(kubectl('get', 'cm', 'plain', '-o', 'jsonpath={.data}'), '{"free":"2"}');
  site.blameless();
});

test('text that looks like a record of owners is left as it is', async () => {
  const dump = kubectl('get', 'cm', 'dump', '-o', 'jsonpath={.data.dump}');
  await site.go(at('core', 'configmaps', 'dump', 'yaml'));
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('.cm-content[contenteditable="true"]').waitFor();
  await page.locator('.cm-line').filter({ hasText: 'gone: soon' }).click();
  await page.keyboard.press('Control+Shift+K');
  await page.getByRole('button', { name: 'Review changes' }).click();
  await sees('Replacement of the object');
  await page.getByRole('button', { name: 'Apply', exact: true }).click();
  await sees('Done', { exact: true });
  assert.equal(kubectl('get', 'cm', 'dump', '-o', 'jsonpath={.data.gone}'), '');
  assert.equal(kubectl('get', 'cm', 'dump', '-o', 'jsonpath={.data.dump}'), dump);
  site.blameless();
});

test('fields are completed by the schema', async () => {
  await site.go(at('core', 'pods', 'talker', 'yaml'));
  await page.getByRole('button', { name: 'Edit' }).click();
  await page.locator('.cm-content[contenteditable="true"]').waitFor();
  await page.locator('.cm-line').filter({ hasText: /^ +imagePullPolicy:/ }).first().click();
  await page.keyboard.press('End');
  await page.keyboard.type('\nliven');
  const option = page.getByRole('option').filter({ hasText: 'livenessProbe' });
  await option.waitFor();
  await site.picture('completion');
  // A key that is pressed just when the options come is not taken for them.
  await option.click();
  await page.locator('.cm-line').filter({ hasText: /^ +livenessProbe:$/ }).waitFor();
  await page.keyboard.type('\nexec:\ncomm');
  await page.getByRole('option').filter({ hasText: 'command' }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  site.blameless();
});

test('logs are followed, searched, and never markup', async () => {
  await site.go(at('core', 'pods', 'talker', 'logs'));
  await page.locator('.line').filter({ hasText: '<b onclick=alert(3)>bold</b>' }).waitFor();
  await page.locator('.line').filter({ hasText: 'coloured' }).waitFor();
  assert.equal(await page.locator('.line b').count(), 0);
  const before = await page.locator('.count').textContent();
  kubectl('exec', 'talker', '--', 'sh', '-c', 'echo said later > /proc/1/fd/1');
  await page.locator('.line').filter({ hasText: 'said later' }).waitFor();
  assert.notEqual(await page.locator('.count').textContent(), before);
  await page.getByRole('searchbox', { name: 'Search' }).fill('later');
  await page.locator('.line mark').filter({ hasText: 'later' }).waitFor();
  await page.getByRole('status').filter({ hasText: /^1 lines/ }).waitFor();
  await site.accessible('logs');
  await site.go(at('apps', 'deployments', 'web', 'logs'));
  await page.locator('.from0').first().waitFor();
  await page.locator('.from1').first().waitFor();
  site.blameless();
});

test('a terminal runs a shell', async () => {
  await site.go(at('core', 'pods', 'talker', 'terminal'));
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.locator('.xterm-rows').filter({ hasText: /[#$]/ }).waitFor();
  await page.keyboard.type('echo $((6*7))-answer; printf "<i onclick=alert(4)>x</i>"\n');
  await page.locator('.xterm-rows').filter({ hasText: '42-answer' }).waitFor();
  await page.locator('.xterm-rows').filter({ hasText: '<i onclick=alert(4)>x</i>' }).waitFor();
  assert.equal(await page.locator('.xterm i').count(), 0);
  await site.picture('terminal');
  await page.keyboard.type('exit\n');
  await sees('The session has ended');
  site.blameless();
});

test('workloads are drawn, scaled, restarted and deleted', async () => {
  await site.go(at('apps', 'deployments', 'web', 'owners'));
  await page.locator('.tree a').nth(3).waitFor();
  assert.equal(await page.locator('.tree .own').count(), 1);
  await site.accessible('the owner tree');
  await site.picture('owners');
  await page.getByRole('button', { name: 'Summary' }).click();
  await page.getByRole('button', { name: 'Scale' }).click();
  await page.getByRole('textbox', { name: 'Replicas' }).fill('3');
  await site.accessible('a dialog');
  await page.getByRole('dialog').getByRole('button', { name: 'Scale' }).click();
  await page.locator('[data-figure="replicas"]').filter({ hasText: '3 / 3' }).waitFor();
  await page.getByRole('button', { name: 'Restart' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Restart' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.match(kubectl('get', 'deploy', 'web', '-o', 'jsonpath={.spec.template.metadata.annotations}'), /restartedAt/);
  await page.getByRole('button', { name: 'Delete' }).click();
  const confirm = page.getByRole('dialog').getByRole('button', { name: 'Delete' });
  assert.ok(await confirm.isDisabled());
  await page.getByRole('dialog').getByRole('textbox').fill('web');
  await confirm.click();
  await page.getByRole('heading', { name: 'Deployment', exact: true }).waitFor();
  assert.equal(kubectl('get', 'deploy', 'web', '--ignore-not-found'), '');
  site.blameless();
});

test('a node shows its pods as a picture', async () => {
  const node = kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}');
  await site.go(`#/object/core/v1/nodes/-/${node}`);
  await page.locator('.packed a').first().waitFor();
  await page.getByRole('meter', { name: 'Memory · requested' }).waitFor();
  await site.accessible('a node');
  await page.locator('.packed').scrollIntoViewIfNeeded();
  await site.picture('node');
});

test('Chinese, dark, and on a phone', async () => {
  await site.go('#/');
  await page.getByLabel('Language').selectOption('zh');
  await page.getByRole('heading', { name: '概览' }).waitFor();
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
  await page.getByLabel('主题').selectOption('dark');
  await site.accessible('the dark overview');
  await site.picture('dark-zh');
  await page.setViewportSize({ width: 390, height: 800 });
  await site.accessible('the overview on a phone');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} pixels`);
  await page.getByRole('button', { name: '菜单' }).click();
  await page.getByRole('link', { name: 'Pod', exact: true }).click();
  await page.getByRole('link', { name: 'talker' }).waitFor();
  await site.picture('phone');
  await page.setViewportSize({ width: 1280, height: 800 });
  site.blameless();
});

test('what the identity may not do is denied with the reason', async () => {
  const reader = await Site.open(browser, READER);
  const seen = reader.page;
  await seen.getByText('nodes is forbidden').first().waitFor();
  await reader.accessible('a denied overview');
  await seen.getByLabel('Namespace', { exact: true }).fill(NAMESPACE);
  await seen.keyboard.press('Enter');
  await reader.go('#/list/core/v1/secrets');
  await seen.getByRole('alert').filter({ hasText: 'secrets is forbidden' }).waitFor();
  await reader.go('#/list/core/v1/pods');
  await seen.getByRole('link', { name: 'talker' }).click();
  await seen.getByRole('button', { name: 'Delete' }).click();
  await seen.getByRole('dialog').getByRole('textbox').fill('talker');
  await seen.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await seen.getByRole('alert').filter({ hasText: /Denied.*cannot delete resource "pods"/ }).waitFor();
  await reader.picture('denied');
  await seen.keyboard.press('Escape');
  await seen.getByRole('button', { name: 'Owner tree' }).click();
  await seen.getByRole('alert').filter({ hasText: 'replicasets.apps is forbidden' }).waitFor();
  await seen.locator('.tree .own').waitFor();
  await seen.getByRole('button', { name: 'Terminal' }).click();
  await seen.getByRole('button', { name: 'Connect' }).click();
  await seen.getByRole('alert').filter({ hasText: 'create pods/exec' }).waitFor({ timeout: PATIENCE_MS });
  assert.equal(kubectl('get', 'pod', 'talker', '-o', 'name').trim(), 'pod/talker');
  reader.blameless();
});
