// The story, one check after the other: later ones build on earlier ones.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import { chromium } from 'playwright-core';
import { provider } from './provider.mjs';

const { PGVEIL, PG_BIN, CHROMIUM, WORK, SERVER_PORT, PORT, ADMIN_PORT, CONSOLE_PORT, PROVIDER_PORT, SCREENSHOTS } = process.env;
const console_url = `http://127.0.0.1:${CONSOLE_PORT}`;
const config = join(WORK, 'pgveil.yaml');
const policy = join(WORK, 'policy.yaml');
const password = 'correct horse battery';

writeFileSync(policy, `version: 1
data:
  phone: { level: 3, columns: [crm.contacts.phone] }
  email: { level: 2, columns: [crm.contacts.email] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { first: 3, last: 4 } }, email: { email: { first: 1 } } }
    export: { rows: 100, per_hour: 12000, per_day: 40000, approvers: [legal, dpo], grants: { expires: 1h, uses: 1, max_rows: 5000, may_unmask: [phone] } }
  support:
    who: [{ db_user: support }]
    mask: { phone: "null", email: "null" }
    export: { rows: 50, per_day: 1000, subjects_per_day: 200, approvers: [legal, dpo] }
unmatched: deny
`);
writeFileSync(config, `listen: 127.0.0.1:${PORT}
upstream: { host: 127.0.0.1, port: ${SERVER_PORT}, tls: disable, catalog_user: { name: postgres }, databases: [postgres] }
policies: policy.yaml
admin: { listen: 127.0.0.1:${ADMIN_PORT} }
console:
  listen: 127.0.0.1:${CONSOLE_PORT}
  oidc:
    issuer: http://localhost:${PROVIDER_PORT}
    client_id: pgveil
    client_secret: a secret of the tests
    person_claim: preferred_username
    groups: { Legal Team: legal, Privacy: dpo }
`);

let failed = 0;
let passed = 0;
async function check(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.stack ?? error).split('\n').slice(0, 6).join('\n     ')}`);
  }
}

/** Runs a program to its end: code, output, errors. */
function run(file, args, { input = '', env = {} } = {}) {
  return new Promise((resolve) => {
    const child = execFile(file, args, { env: { ...process.env, ...env }, maxBuffer: 1 << 26 }, (error, out, err) =>
      resolve({ code: error ? (error.code ?? 1) : 0, out, err }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
const pgveil = (args, options) => run(PGVEIL, args, options);
const accounts = (args, input, env) => pgveil(['accounts', ...args, '--config', config], { input, env });
const psql = (user, sql) => run(join(PG_BIN, 'psql'), ['-X', '-q', '-A', '-t', '-h', '127.0.0.1', '-p', PORT, '-U', user, '-d', 'postgres', '-c', sql]);
const rows = (result) => result.out.split('\n').filter((line) => line !== '').length;

/** The code of RFC 6238 for a secret in base 32. */
function code(secret, step = 0) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((c) => alphabet.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + step));
  const mac = createHmac('sha1', key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1000000).padStart(6, '0');
}

/** Sets up a second factor as its owner does: reads the secret, answers with a code. */
function enrol(name) {
  return new Promise((resolve, reject) => {
    const child = spawn(PGVEIL, ['accounts', 'totp', name, '--config', config]);
    let out = '';
    let secret;
    child.stdout.on('data', (data) => {
      out += data;
      secret ??= out.match(/^secret ([A-Z2-7]{32})$/m)?.[1];
      // The code of the step before: that of now is kept for the login.
      if (secret && child.stdin.writable) child.stdin.end(`${code(secret, -1)}\n`);
    });
    child.on('close', (status) => (status === 0 ? resolve(secret) : reject(new Error(out))));
  });
}

let proxy;
function serve() {
  return new Promise((resolve, reject) => {
    proxy = spawn(PGVEIL, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    proxy.stderr.on('data', (data) => { log += data; });
    proxy.stdout.on('data', (data) => { if (String(data).includes('pgveil ready')) resolve(); });
    proxy.on('exit', (status) => reject(new Error(`pgveil ended (${status}): ${log}`)));
    proxy.log = () => log;
  });
}
function stop() {
  return new Promise((resolve) => {
    if (!proxy || proxy.exitCode !== null) return resolve();
    proxy.removeAllListeners('exit');
    proxy.on('exit', resolve);
    proxy.kill('SIGTERM');
  });
}
const record = () => readdirSync(join(WORK, 'var/audit')).filter((file) => file.endsWith('.jsonl')).sort()
  .map((file) => readFileSync(join(WORK, 'var/audit', file), 'utf8')).join('')
  .split('\n').filter(Boolean).map((line) => JSON.parse(line));

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
});
const complaints = [];
async function visitor(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.on('console', (message) => { if (/Content Security Policy|Refused to/.test(message.text())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  return page;
}
async function login(page, name, otp = '', words = password) {
  await page.goto(`${console_url}/login`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password', { exact: true }).fill(words);
  if (otp) await page.getByLabel('Code of the second factor').fill(otp);
  await page.getByRole('button', { name: 'Sign in' }).click();
}
/** Signs in by the identity provider. */
async function vouched(page, name) {
  await page.goto(`${console_url}/login`);
  await page.getByRole('link', { name: 'Sign in with the identity provider' }).click();
  await page.waitForURL(/localhost/);
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('x');
  await page.locator('button[type=submit]').click();
  await page.locator('button[type=submit]').click();
  await page.waitForURL(`${console_url}/requests`);
}
const heading = (page) => page.locator('h1').innerText();
/** Sends a form from within a page, past what the page offers. */
const forge = (page, path, fields) => page.evaluate(async ([path, fields]) => {
  const answer = await fetch(path, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
  return { status: answer.status, type: answer.type, text: await answer.text() };
}, [path, fields]);
/** What keeps a page from WCAG 2.2 AA, as far as a program can tell. */
async function barriers(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  return found.violations.map((rule) => `${rule.help}: ${rule.nodes.map((node) => node.target).join(' ')}`);
}
/** Looks for barriers on a page, and keeps a picture of it. */
async function picture(page, name, options = {}) {
  assert.deepEqual(await barriers(page), [], name);
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), ...options });
}

const secrets = {};
const tokens = {};
/** The code that the token was had for. */
let used;
let id;
let second;
const wanted = 'SELECT id, name, phone, email FROM crm.contacts WHERE id > 0 ORDER BY id';

await check('accounts are made on the command line before anything runs', async () => {
  for (const [name, groups] of [['root', 'admin'], ['lena', 'legal'], ['mara', 'legal,dpo'], ['agent', 'legal,dpo']]) {
    const added = await accounts(['add', name, '--groups', groups], `${password}\n`);
    assert.equal(added.code, 0, added.err);
  }
  const weak = await accounts(['add', 'weak'], 'short\n');
  assert.equal(weak.code, 1);
  assert.match(weak.err, /at least 12 characters/);
  secrets.lena = await enrol('lena');
  const listed = await accounts(['list']);
  assert.match(listed.out, /lena +lena +legal +yes +never/);
  assert.doesNotMatch(listed.out, /argon2/);
  tokens.root = (await accounts(['token', 'root'])).out.trim();
  assert.match(tokens.root, /^pgveil_/);
});

const oidc = await provider(Number(PROVIDER_PORT), `${console_url}/login/provider/return`);
await serve();

await check('while pgveil runs, accounts are made through it, by an administrator only', async () => {
  const without = await accounts(['add', 'dana', '--groups', 'dpo'], `${password}\n`);
  assert.equal(without.code, 1);
  assert.match(without.err, /PGVEIL_TOKEN/);
  const added = await accounts(['add', 'dana', '--groups', 'dpo'], `${password}\n`, { PGVEIL_TOKEN: tokens.root });
  assert.equal(added.code, 0, added.err);
  tokens.dana = (await accounts(['token', 'dana'], `${password}\n\n`)).out.trim();
  used = code(secrets.lena);
  tokens.lena = (await accounts(['token', 'lena'], `${password}\n${used}\n`)).out.trim();
  assert.match(tokens.dana + tokens.lena, /pgveil_.*pgveil_/);
  const forbidden = await accounts(['add', 'eve'], `${password}\n`, { PGVEIL_TOKEN: tokens.dana });
  assert.match(forbidden.err, /group admin/);
});

await check('an export beyond the limit stops in psql and names a request', async () => {
  const result = await psql('agent', wanted);
  assert.ok(rows(result) <= 100, `${rows(result)} rows`);
  id = result.err.match(/export request ([0-9a-f]{8})/)?.[1];
  assert.ok(id, result.err);
  const again = await psql('agent', wanted);
  assert.ok(again.err.includes(id), again.err);
});

const lena = await visitor();
await check('a login needs the password and the code, and takes a code once', async () => {
  await login(lena, 'lena');
  assert.match(await lena.getByRole('alert').innerText(), /Not signed in/);
  await login(lena, 'lena', '', 'wrong password');
  assert.match(await lena.getByRole('alert').innerText(), /Not signed in/);
  await login(lena, 'lena', used);
  assert.match(await lena.getByRole('alert').innerText(), /Not signed in/);
  await picture(lena, 'login');
  await login(lena, 'lena', code(secrets.lena, 1));
  assert.equal(await heading(lena), 'Pending requests');
  const cookies = await lena.context().cookies();
  const session = cookies.find((cookie) => cookie.name === 'pgveil');
  assert.ok(session.httpOnly && session.sameSite === 'Strict');
});

const agent = await visitor();
await check('the requester gives a reason and cannot sign, though in both groups', async () => {
  await login(agent, 'agent');
  await agent.getByRole('link', { name: 'My requests' }).click();
  await agent.getByRole('link', { name: id }).click();
  assert.match(await agent.locator('main').innerText(), /cannot sign this request/);
  await agent.getByLabel('Reason').fill('Address list for the audit of November, asked for by finance.');
  await agent.getByRole('button', { name: 'Save the reason' }).click();
  assert.match(await agent.getByRole('status').innerText(), /reason is saved/);
  assert.equal(await agent.getByRole('button', { name: 'Approve and sign' }).count(), 0);
  const csrf = await agent.locator('input[name=csrf]').first().inputValue();
  const forged = await forge(agent, `/requests/${id}/approve`, { csrf, seen: '2' });
  assert.equal(forged.status, 409);
  assert.match(forged.text, /cannot sign it/);
});

await check('the approver sees who, what, why and in which form it leaves', async () => {
  await lena.goto(`${console_url}/requests`);
  await picture(lena, 'requests');
  await lena.getByRole('link', { name: id }).click();
  const text = await lena.locator('main').innerText();
  for (const part of ['agent', 'asked for by finance', 'crm.contacts.phone', 'masked', 'awaits a signature', '5,000']) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
});

await check('a form without the token of the session, or with another one, fails', async () => {
  for (const fields of [{ seen: '2' }, { seen: '2', csrf: 'A'.repeat(43) }]) {
    assert.equal((await forge(lena, `/requests/${id}/approve`, fields)).status, 403);
  }
  const evil = await visitor();
  await evil.context().addCookies(await lena.context().cookies());
  await evil.route('http://localhost:8181/', (route) => route.fulfill({
    contentType: 'text/html',
    body: `<form method=post action="${console_url}/requests/${id}/approve"><input name=seen value=2><button>x</button></form>`,
  }));
  await evil.goto('http://localhost:8181/');
  await evil.getByRole('button').click();
  await evil.waitForURL(/approve$/);
  assert.match(await evil.locator('body').innerText(), /did not come from this console/);
  await lena.reload();
  assert.match(await lena.locator('.signatures').innerText(), /awaits a signature[^]*awaits a signature/);
  await evil.context().close();
});

await check('the first signature does not open the door', async () => {
  await lena.getByLabel('Rows at most').fill('5,000');
  await lena.getByLabel('Comment').fill('Masked is enough; fine for me.');
  await picture(lena, 'request', { fullPage: true });
  await lena.getByRole('button', { name: 'Approve and sign' }).click();
  assert.match(await lena.getByRole('status').innerText(), /signature is on record/);
  const result = await psql('agent', wanted);
  assert.ok(rows(result) <= 100 && result.err.includes(id), result.err);
});

await check('the same person cannot sign twice', async () => {
  const mara = await visitor();
  await login(mara, 'mara');
  const other = await psql('support', 'SELECT name FROM crm.contacts');
  second = other.err.match(/export request ([0-9a-f]{8})/)?.[1];
  await mara.goto(`${console_url}/requests/${second}`);
  await mara.getByLabel('You sign for').selectOption('legal');
  await mara.getByRole('button', { name: 'Approve and sign' }).click();
  assert.match(await mara.locator('main').innerText(), /has signed already/);
  assert.equal(await mara.getByRole('button', { name: 'Approve and sign' }).count(), 0);
  const csrf = await mara.locator('input[name=csrf]').first().inputValue();
  const forged = await forge(mara, `/requests/${second}/approve`, { csrf, seen: '2', group: 'dpo' });
  assert.equal(forged.status, 409);
  assert.match(forged.text, /signed already/);
  await mara.context().close();
});

const dana = await visitor();
await check('the second person signs with the keyboard alone, and the export runs, once', async () => {
  await dana.goto(`${console_url}/requests/${id}`);
  await dana.keyboard.type('dana');
  await dana.keyboard.press('Tab');
  await dana.keyboard.type(password);
  await dana.keyboard.press('Enter');
  await dana.waitForURL(new RegExp(`/requests/${id}$`));
  const button = dana.getByRole('button', { name: 'Approve and sign' });
  for (let presses = 0; presses < 40 && !(await button.evaluate((b) => b === document.activeElement)); presses += 1) {
    await dana.keyboard.press('Tab');
  }
  await dana.keyboard.press('Enter');
  assert.match(await dana.getByRole('status').innerText(), /signature is on record/);
  await picture(dana, 'granted', { fullPage: true });
  const result = await psql('agent', wanted);
  assert.equal(result.code, 0, result.err);
  assert.equal(rows(result), 5000);
  assert.match(result.out, /^1\|Contact 1\|138\*+0001\|/);
  const again = await psql('agent', wanted);
  assert.notEqual(again.code, 0);
  assert.ok(!again.err.includes(id), again.err);
});

await check('refusals show up on the open page by themselves', async () => {
  await lena.goto(`${console_url}/refusals`);
  const before = await lena.locator('tbody tr').count();
  assert.ok(before >= 1);
  await psql('support', 'SELECT pg_read_file($$/etc/passwd$$)');
  await lena.waitForFunction((before) => document.querySelectorAll('tbody tr').length > before, before, { timeout: 10000 });
  await picture(lena, 'refusals');
});

await check('the search for barriers finds one', async () => {
  await lena.evaluate(() => document.querySelector('main').append(document.createElement('button')));
  assert.match((await barriers(lena)).join(), /discernible text/);
});

await check('budgets of people are shown', async () => {
  await lena.goto(`${console_url}/people`);
  const text = await lena.locator('main').innerText();
  assert.match(text, /agent/);
  assert.ok(await lena.getByRole('img').count() >= 4);
  await picture(lena, 'people');
});

await check('history keeps who signed, and pages speak Chinese and fit the dark', async () => {
  await lena.goto(`${console_url}/history`);
  assert.match(await lena.locator('main').innerText(), new RegExp(`${id}[^]*lena[^]*dana[^]*used`));
  await lena.getByRole('link', { name: '中文' }).click();
  assert.equal(await heading(lena), '历史');
  await lena.goto(`${console_url}/requests/${id}`);
  await picture(lena, 'request-zh', { fullPage: true });
  const dark = await visitor({ colorScheme: 'dark' });
  await dark.context().addCookies((await lena.context().cookies()).filter((cookie) => cookie.name === 'pgveil'));
  await dark.goto(`${console_url}/requests/${second}`);
  await picture(dark, 'request-dark', { fullPage: true });
  await dark.context().close();
  await lena.getByRole('link', { name: 'English' }).click();
});

await check('the same is done on the command line, by the same rules', async () => {
  const approvals = (args, token) => pgveil(['approvals', ...args], { env: { PGVEIL_TOKEN: token, PGVEIL_CONSOLE_URL: console_url } });
  const listed = await approvals(['list'], tokens.dana);
  assert.match(listed.out, new RegExp(`^${second} +approved`, 'm'));
  const none = await approvals(['approve', second, '--seen', '2', '--clear', 'phone'], tokens.dana);
  assert.equal(none.code, 1);
  assert.match(none.err, /may_unmask/);
  const stale = await approvals(['approve', second, '--seen', '1'], tokens.dana);
  assert.equal(stale.code, 1);
  assert.match(stale.err, /changed since it was read/);
  const json = await approvals(['approve', second, '--seen', '2', '--rows', '6000', '--comment', 'fine', '--format', 'json'], tokens.dana);
  assert.equal(json.code, 0, json.err);
  assert.equal(JSON.parse(json.out).state, 'granted');
  const twice = await approvals(['approve', second, '--seen', '3'], tokens.lena);
  assert.equal(twice.code, 1);
  // Who asked is in both groups, and who signed for one is in the other.
  const own = await psql('agent', 'SELECT email FROM crm.contacts');
  const third = own.err.match(/export request ([0-9a-f]{8})/)?.[1];
  tokens.agent = (await accounts(['token', 'agent'], `${password}\n\n`)).out.trim();
  tokens.mara = (await accounts(['token', 'mara'], `${password}\n\n`)).out.trim();
  for (const group of ['legal', 'dpo']) {
    const signed = await approvals(['approve', third, '--seen', '1', '--group', group], tokens.agent);
    assert.equal(signed.code, 1);
    assert.match(signed.err, /cannot sign it/);
  }
  assert.equal((await approvals(['approve', third, '--seen', '1', '--group', 'legal'], tokens.mara)).code, 0);
  const both = await approvals(['approve', third, '--seen', '2', '--group', 'dpo'], tokens.mara);
  assert.equal(both.code, 1);
  assert.match(both.err, /signed already/);
  assert.equal((await approvals(['show', second], 'pgveil_wrong')).code, 1);
  assert.equal((await pgveil(['approvals', 'list'])).code, 2);
});

await check('an identity provider vouches for people, and its groups for what they may sign', async () => {
  const olga = await visitor();
  await vouched(olga, 'olga');
  assert.match(await olga.locator('header').innerText(), /olga/);
  await olga.goto(`${console_url}/account`);
  assert.match(await olga.locator('main').innerText(), /legal/);
  await olga.goto(`${console_url}/login/provider/return?state=x&code=y`);
  assert.match(await olga.getByRole('alert').innerText(), /did not vouch/);
  await olga.context().close();
});

await check('who asked cannot sign by way of the identity provider either, whatever spelling it has', async () => {
  const own = await psql('agent', 'SELECT name FROM crm.contacts WHERE id > 3');
  const fourth = own.err.match(/export request ([0-9a-f]{8})/)?.[1];
  assert.ok(fourth, own.err);
  const again = await visitor();
  await vouched(again, 'AGENT');
  await again.goto(`${console_url}/requests/${fourth}`);
  assert.match(await again.locator('main').innerText(), /cannot sign this request/);
  assert.equal(await again.getByRole('button', { name: 'Approve and sign' }).count(), 0);
  const csrf = await again.locator('input[name=csrf]').first().inputValue();
  const forged = await forge(again, `/requests/${fourth}/approve`, { csrf, seen: '1' });
  assert.equal(forged.status, 409);
  assert.match(forged.text, /cannot sign it/);
  await again.context().close();
});

await check('a grant under a policy that has changed since is void', async () => {
  await stop();
  appendFileSync(policy, '# another version\n');
  await serve();
  const result = await psql('support', 'SELECT name FROM crm.contacts');
  assert.ok(rows(result) <= 50 && !result.err.includes(second), result.err);
  await lena.goto(`${console_url}/requests/${second}`);
  assert.equal(await lena.locator('.title .state').innerText(), 'void');
});

await check('everything is on the record, and the record holds', async () => {
  await lena.getByRole('button', { name: 'Sign out' }).click();
  await lena.goto(`${console_url}/requests`);
  assert.equal(await heading(lena), 'Sign in');
  await stop();
  const lines = record();
  const steps = lines.filter((line) => line.export?.request === id).map((line) => `${line.export.by} ${line.export.action}`);
  assert.deepEqual(steps.filter((step) => /explain|approve|use/.test(step)), ['agent explain', 'lena approve', 'dana approve', 'agent use']);
  const done = lines.filter((line) => line.event === 'console').map((line) => `${line.person}: ${line.message}`);
  for (const part of [/^lena: signed in with/, /^lena: sign-in refused: wrong, missing/, /^lena: signed out/, /^root: account dana added/, /^olga: signed in by/]) {
    assert.ok(done.some((line) => part.test(line)), `${part} in ${done.join('\n')}`);
  }
  const text = JSON.stringify(lines);
  assert.ok(![password, secrets.lena, ...Object.values(tokens)].some((secret) => text.includes(secret)), 'a secret is on the record');
  assert.ok(!proxy.log().includes(password) && !proxy.log().includes(secrets.lena), 'a secret is in the log');
  const verified = await pgveil(['audit', 'verify', '--config', config]);
  assert.equal(verified.code, 0, verified.err);
});

await check('no page asked the browser for anything that its policy forbids', async () => {
  assert.deepEqual(complaints, []);
});

await browser.close();
await stop();
oidc.server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
