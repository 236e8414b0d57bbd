// Does in a real browser what a user does by hand, and says as JSON what was seen.
//
//   node drive.mjs TASK < {"url": …, …}
//
// Every task is one function below. With `screenshots`, a folder, pictures of the pages are left there. What the pages
// have asked for is read from `log`, the browser's own record of its network, in which workers and beacons stand too.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const QUIET = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const PAGE = { width: 1400, height: 900 };
const MINUTE = 60_000;
const NOTEBOOK = '.jp-NotebookPanel:not(.lm-mod-hidden)';

const tasks = { login, notebooks, visit, runs, registry, download, call };

async function main() {
  const chosen = tasks[process.argv[2]];
  if (!chosen) throw new Error(`say one of: ${Object.keys(tasks).join(', ')}`);
  const wish = JSON.parse(await readFile('/dev/stdin', 'utf8'));
  const folder = await mkdtemp(join(tmpdir(), 'drive-'));
  try {
    const log = join(folder, 'network.json');
    const seen = await inBrowser(chosen, wish, log);
    console.log(JSON.stringify({ ...seen, hosts: hostsAsked(JSON.parse(await readFile(log, 'utf8'))) }));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function inBrowser(task, wish, log) {
  // Chromium refuses to start its sandbox as root.
  const root = process.getuid() === 0 ? ['--no-sandbox'] : [];
  const args = [...QUIET, ...root, `--log-net-log=${log}`];
  const browser = await chromium.launch({ executablePath: wish.browser, args });
  const credentials = wish.user && { username: wish.user, password: wish.password };
  const page = await browser.newPage({ viewport: PAGE, httpCredentials: credentials, acceptDownloads: true });
  page.setDefaultTimeout(wish.patience ?? MINUTE);
  // What is held back is never answered.
  if (wish.hold) await page.route(wish.hold, () => {});
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('response', (answer) => answer.status() >= 500 && errors.push(`${answer.status()} ${answer.url()}`));
  const shoot = (name, of = page) => wish.screenshots && of.screenshot({ path: `${wish.screenshots}/${name}.png` });
  try {
    return { ...(await task(page, wish, shoot)), errors };
  } catch (error) {
    if (wish.failure) await page.screenshot({ path: wish.failure });
    for (const fault of errors) console.error(`in the page: ${fault}`);
    throw error;
  } finally {
    await browser.close();
  }
}

// The hosts that pages have sent requests to. What Chromium asks for on its own account comes from no page.
function hostsAsked(log) {
  const started = log.constants.logEventTypes.URL_REQUEST_START_JOB;
  const asked = log.events.filter((event) => event.type === started && /^https?:/.test(event.params?.initiator));
  return [...new Set(asked.map((event) => new URL(event.params.url).hostname))].sort();
}

// --- JupyterLab ---

async function login(page, { url, token }) {
  await page.goto(`${url}/lab`);
  await page.waitForURL(/\/login/);
  await page.locator('input[type=password]').first().fill(token);
  await page.locator('input[type=password]').first().press('Enter');
  await page.waitForURL(/\/lab/);
  await page.goto(`${url}/lab/tree/work`);
  const entries = page.locator('.jp-DirListing-itemName');
  await entries.first().waitFor();
  return { files: await entries.allTextContents() };
}

async function notebooks(page, { url, token, names }, shoot) {
  await page.goto(`${url}/lab?token=${token}`);
  await page.locator('#jp-main-dock-panel').waitFor();
  // JupyterLab asks when a cell is run before its kernel has said that it is there.
  const question = page.locator('.jp-Dialog', { hasText: 'Select Kernel' });
  await page.addLocatorHandler(question, () => question.getByRole('button', { name: 'Select', exact: true }).click());
  for (const name of names) {
    await openNotebook(page, url, name);
    await runAllCells(page);
    await save(page);
    if (name !== names[0]) continue;
    // Where there is something to see: the last picture that the notebook drew.
    await page.locator(`${NOTEBOOK} .jp-RenderedImage img`).last().scrollIntoViewIfNeeded();
    await shoot(`jupyterlab-${name.replace('.ipynb', '')}`);
  }
  return {};
}

async function openNotebook(page, url, name) {
  await page.goto(`${url}/lab/tree/work/${name}?reset`);
  await page.locator(`${NOTEBOOK} .jp-Cell`).first().waitFor();
  await page.locator('#jp-main-statusbar', { hasText: /\| Idle/ }).waitFor();
}

async function runAllCells(page) {
  await page.locator('.lm-MenuBar-item', { hasText: /^Run$/ }).click();
  await page.locator('li[data-command="runmenu:run-all"]').click();
  await page.locator(`${NOTEBOOK} .jp-InputPrompt`, { hasText: '[*]' }).first().waitFor();
  await idle(page);
}

// Nothing runs, and no cell waits for its turn.
async function idle(page) {
  const quiet = (notebook) => {
    const prompts = [...document.querySelectorAll(`${notebook} .jp-InputPrompt`)].map((prompt) => prompt.textContent);
    const indicator = document.querySelector(`${notebook} .jp-Notebook-ExecutionIndicator`);
    return indicator?.dataset.status === 'idle' && !prompts.some((prompt) => prompt.includes('[*]'));
  };
  await page.waitForFunction(quiet, NOTEBOOK, { timeout: 10 * MINUTE });
}

async function save(page) {
  await page.locator('.lm-MenuBar-item', { hasText: /^File$/ }).click();
  await page.locator('li[data-command="docmanager:save"]').click();
  await page.locator('.lm-TabBar-tab.jp-mod-dirty').waitFor({ state: 'detached' });
}

// --- MLflow ---

async function openMlflow(page, address) {
  await page.goto(address);
  await page.getByText('Model training', { exact: true }).waitFor();
  await settled(page);
}

// Nothing that is in sight is on its way: what moves for ever is a placeholder or a spinner, and a plot has its axes.
// What is below is not asked for until somebody scrolls there.
async function settled(page) {
  await page.waitForFunction(() => {
    const inSight = (element) => {
      const { top, bottom, width } = element.getBoundingClientRect();
      return width > 0 && top < innerHeight && bottom > 0;
    };
    const endless = ({ effect }) => effect.getTiming().iterations === Infinity && inSight(effect.target);
    const plots = [...document.querySelectorAll('.js-plotly-plot')].filter(inSight);
    return !document.getAnimations().some(endless) && plots.every((plot) => plot.querySelector('.tick, .xtick, .ytick'));
  });
}

// A picture is of a page that is whole: before it is taken, and still when it has been.
async function picture(page, shoot, name) {
  await settled(page);
  await shoot(name);
  await settled(page);
}

// What somebody sees who opens a link and has never been there before.
async function visit(page, { links, user, password, pictures = {} }, shoot) {
  const pages = {};
  for (const [name, { link, shows }] of Object.entries(links)) {
    const credentials = user && { username: user, password };
    const context = await page.context().browser().newContext({ viewport: PAGE, httpCredentials: credentials });
    const opened = await context.newPage();
    opened.setDefaultTimeout(MINUTE);
    await openMlflow(opened, link);
    await opened.getByText(shows).first().waitFor();
    await opened.waitForLoadState('networkidle');
    await settled(opened);
    pages[name] = await look(opened);
    if (pictures[name]) await shoot(pictures[name], opened);
    await context.close();
  }
  return { pages };
}

// Which menu is beside the page, and what MLflow greets with.
async function look(page) {
  const menu = await page.locator('aside').first().innerText();
  const greetings = ['Start Demo', 'Information about UI telemetry', 'MLflow Assistant', 'Flexible, governed deployments'];
  const seen = [];
  for (const text of greetings) {
    for (const found of await page.getByText(text).all()) if (await found.isVisible()) seen.push(text);
  }
  const buttons = await page.locator('[data-assistant-ui]').all();
  for (const button of buttons) if (await button.isVisible()) seen.push('the button of the assistant');
  return {
    training: menu.includes('Model registry') && !/Prompts|Gateway|Judges/.test(menu),
    greetings: seen,
    text: await page.locator('body').innerText(),
  };
}

async function runs(page, { link, names }, shoot) {
  await openMlflow(page, link);
  for (const name of names) await page.getByText(name, { exact: true }).first().waitFor();
  await picture(page, shoot, 'mlflow-sweep');
  const listed = await page.getByRole('row').filter({ has: page.locator('input[type=checkbox]') }).allInnerTexts();
  for (const name of names) {
    const row = page.getByRole('row').filter({ has: page.getByText(name, { exact: true }) });
    await row.locator('input[type=checkbox]').first().check();
  }
  await page.getByTestId('runs-compare-button').click();
  await page.waitForURL(/compare-runs/);
  for (const name of names) await page.getByText(name).first().waitFor();
  await page.locator('.parcoords .axis .tick').first().waitFor();
  await page.waitForFunction(hasLines);
  await picture(page, shoot, 'mlflow-compare');
  const text = await page.locator('body').innerText();
  return { listed, compared: names.filter((name) => text.includes(name)), metrics: text };
}

// The lines of parallel coordinates are no elements of the page: they are drawn by WebGL, in their own time.
function hasLines() {
  const drawn = document.querySelector('.gl-canvas-context');
  if (!drawn?.width) return false;
  const copy = new OffscreenCanvas(drawn.width, drawn.height).getContext('2d');
  copy.drawImage(drawn, 0, 0);
  return copy.getImageData(0, 0, drawn.width, drawn.height).data.some((value) => value > 0);
}

async function registry(page, { link, version }, shoot) {
  await openMlflow(page, link);
  const table = page.getByRole('table').filter({ hasText: 'Registered at' });
  await table.getByText(`Version ${version}`).first().waitFor();
  const aliases = await table.innerText();
  await picture(page, shoot, 'mlflow-versions');
  // Stages are shown by the older of MLflow's two views of the registry.
  await page.getByRole('switch').first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Disable' }).click();
  await dialog.waitFor({ state: 'detached' });
  const row = page.getByRole('row').filter({ hasText: `Version ${version}` });
  await row.getByText('Production').waitFor();
  return { versions: await table.innerText(), aliases, stage: await row.getByText('Production').innerText() };
}

async function download(page, { url, experiment, run, artifact, to }) {
  await openMlflow(page, `${url}/#/experiments/${experiment}/runs/${run}/artifacts`);
  await page.getByText(artifact, { exact: true }).first().click();
  const button = page.locator('[data-component-id="codegen_mlflow_app_src_experiment-tracking_components_artifactview.tsx_337"]');
  await page.getByText('"name"').first().waitFor();
  const started = page.waitForEvent('download');
  await button.click();
  await (await started).saveAs(to);
  return {};
}

// Ask for other hosts in every way that a page has, so that a test can see that none of them escapes the record.
async function call(page, { url }) {
  await page.goto(url);
  await page.evaluate(async () => {
    const worker = (host) => URL.createObjectURL(new Blob([`fetch('http://${host}/').catch(() => 0).then(() => close())`]));
    globalThis.kept = [new SharedWorker(worker('shared.invalid')), new Worker(worker('worker.invalid'))];
    navigator.sendBeacon('http://beacon.invalid/', 'x');
    const image = new Image();
    image.src = 'http://image.invalid/';
    const font = new FontFace('foreign', 'url(http://font.invalid/)');
    await Promise.allSettled([font.load(), image.decode(), fetch('http://fetch.invalid/')]);
  });
  // Workers start in their own time.
  await page.waitForLoadState('networkidle');
  return {};
}

await main();
