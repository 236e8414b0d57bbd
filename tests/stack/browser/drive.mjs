// Does in a real browser what a user does by hand, and says as JSON what was seen.
//
//   node drive.mjs TASK < {"url": …, …}
//
// Every task is one function below. With `screenshots`, a folder, pictures of the pages are left there.
import { readFile } from 'node:fs/promises';
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

const tasks = { login, notebooks, runs, registry, download };

async function main() {
  const chosen = tasks[process.argv[2]];
  if (!chosen) throw new Error(`say one of: ${Object.keys(tasks).join(', ')}`);
  const wish = JSON.parse(await readFile('/dev/stdin', 'utf8'));
  // Chromium refuses to start its sandbox as root.
  const root = process.getuid() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath: wish.browser, args: [...QUIET, ...root] });
  const credentials = wish.user && { username: wish.user, password: wish.password };
  const page = await browser.newPage({ viewport: PAGE, httpCredentials: credentials, acceptDownloads: true });
  page.setDefaultTimeout(MINUTE);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('response', (answer) => answer.status() >= 500 && errors.push(`${answer.status()} ${answer.url()}`));
  const shoot = (name) => wish.screenshots && page.screenshot({ path: `${wish.screenshots}/${name}.png` });
  try {
    const seen = await chosen(page, wish, shoot);
    console.log(JSON.stringify({ ...seen, errors }));
  } catch (error) {
    if (wish.failure) await page.screenshot({ path: wish.failure });
    for (const fault of errors) console.error(`in the page: ${fault}`);
    throw error;
  } finally {
    await browser.close();
  }
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

// It opens in the mode of another trade, with an assistant beside it that this server does not offer.
async function openMlflow(page, address) {
  await page.goto(`${address}?workflowType=machine_learning`);
  await page.locator('[data-component-id="mlflow.assistant.chat_panel.close"]').click();
}

async function runs(page, { url, experiment, names }, shoot) {
  await openMlflow(page, `${url}/#/experiments/${experiment}/runs`);
  // A sweep's candidates lie under it.
  await page.locator('.ag-cell', { hasText: 'sweep' }).getByRole('button').first().click();
  for (const name of names) await page.getByText(name, { exact: true }).first().waitFor();
  for (const name of names) {
    const row = page.getByRole('row').filter({ has: page.getByText(name, { exact: true }) });
    await row.locator('input[type=checkbox]').first().check();
  }
  await page.getByTestId('runs-compare-button').click();
  await page.waitForURL(/compare-runs/);
  await page.getByText('Model training').click();
  for (const name of names) await page.getByText(name).first().waitFor();
  await shoot('mlflow-compare');
  const text = await page.locator('body').innerText();
  return { compared: names.filter((name) => text.includes(name)), metrics: text };
}

async function registry(page, { url, model, version }, shoot) {
  await openMlflow(page, `${url}/#/models/${model}`);
  const table = page.getByRole('table').filter({ hasText: 'Registered at' });
  await table.getByText(`Version ${version}`).first().waitFor();
  const aliases = await table.innerText();
  await shoot('mlflow-versions');
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

await main();
