// The report site in Chromium: node run.mjs <site folder> [folder for screenshots]
// Serves the folder on 127.0.0.1, opens the pages in every theme and width, and fails on what a person
// would stumble over: console errors, overflow, accessibility violations, missing content.
import assert from "node:assert/strict";
import { readFileSync, existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join, normalize, resolve } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const site = resolve(process.argv[2] ?? process.env.SITE ?? "");
const shots = process.argv[3] ?? process.env.SHOTS;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
assert.ok(existsSync(join(site, "index.html")), `no site in ${site}: cargo test --test it report`);
assert.ok(existsSync(executablePath), `no ${executablePath}: make test-deps`);
if (shots) mkdirSync(shots, { recursive: true });

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const types = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".json": "application/json" };
const live = JSON.parse(readFileSync(join(site, "api/v1/live/fleet.json"), "utf8"));
const dataThrough = Date.parse(live.data_through);
const fleet = "index.html";
const slow = "c/stage-us-02/index.html";
const happened = "events.html";
const ids = JSON.parse(readFileSync(join(site, "api/v1/index.json"), "utf8")).clusters.map((c) => c.id);
// One of each state, and the sizes that need other drawings.
const special = ["prod-eu-01", "edge-us-03", "prod-ap-04", "stage-eu-05", "edge-us-06", "prod-us-07", "stage-ap-08", "edge-eu-09", "prod-us-10", "stage-us-11", "edge-ap-12"]
  .filter((id) => ids.includes(id))
  .map((id) => `c/${id}/index.html`);

let server, browser, origin;
let liveBody = null;

before(async () => {
  server = createServer((request, response) => {
    // The pages believe the server's clock over the browser's, which these tests set.
    response.sendDate = false;
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname)).replace(/^\/+/, "") || fleet;
    if (path === "api/v1/live/fleet.json" && liveBody) {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(liveBody));
      return;
    }
    try {
      const body = readFileSync(join(site, path));
      response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  origin = `http://127.0.0.1:${server.address().port}/`;
  browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});

after(async () => {
  await browser?.close();
  server?.close();
});

/** Opens a page at the data's own time and fails the test on any error in its console or any foreign request. */
async function open(t, path, { theme = "light", width = 1360, javaScriptEnabled = true, now = dataThrough + 20_000, base = origin, touch = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, javaScriptEnabled, hasTouch: touch });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("requestfailed", (request) => problems.push(`failed: ${request.url()}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:")) problems.push(`foreign: ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  if (javaScriptEnabled) await page.clock.setFixedTime(now);
  await page.goto(base + path);
  t.after(async () => {
    await context.close();
    assert.deepEqual(problems, [], `${path}: the console must be silent`);
  });
  return page;
}

async function axeClean(page, what) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const result = await window.axe.run(document, { runOnly: tags });
    return result.violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).slice(0, 3).join(" | ")}`);
  });
  assert.deepEqual(violations, [], what);
}

async function noOverflow(page, what) {
  const wide = await page.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= limit) return [];
    return Array.from(document.querySelectorAll("body *"))
      .filter((e) => e.getBoundingClientRect().right > limit + 1 && !e.closest(".scroll, .tabs, .defs, svg svg"))
      .slice(0, 5)
      .map((e) => `${e.tagName}.${e.getAttribute("class")} ${Math.round(e.getBoundingClientRect().right)}`);
  });
  const sizes = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(sizes[0] <= sizes[1], `${what}: ${sizes[0]} px of ${sizes[1]}: ${wide.join(", ")}`);
}

const views = [
  ["light", { theme: "light" }],
  ["dark", { theme: "dark" }],
  ["phone", { theme: "light", width: 390, touch: true }],
  ["phone-dark", { theme: "dark", width: 390, touch: true }],
  ["narrow", { theme: "light", width: 320 }],
  ["tablet", { theme: "light", width: 800 }],
];
for (const path of [fleet, slow, happened]) {
  for (const [name, options] of views) {
    test(`${path} is clean in ${name}`, async (t) => {
      const page = await open(t, path, options);
      await noOverflow(page, `${path} ${name}`);
      await axeClean(page, `${path} ${name}`);
      assert.equal(await page.locator("#stale").textContent(), "", "fresh data has no banner");
      if (shots) await page.screenshot({ path: join(shots, `${{ [fleet]: "fleet", [happened]: "events" }[path] ?? "cluster"}-${name}.png`), fullPage: true });
    });
  }
}

for (const [name, options] of views) {
  test(`the page of a machine is clean in ${name}`, async (t) => {
    const page = await open(t, "preflight.html", options);
    assert.ok((await page.locator("tbody tr").count()) >= 10);
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.querySelector(".card")).borderRadius), "0px", "styled");
    await noOverflow(page, `preflight ${name}`);
    await axeClean(page, `preflight ${name}`);
    if (shots) await page.screenshot({ path: join(shots, `preflight-${name}.png`), fullPage: true });
  });
}

for (const path of special) {
  test(`${path} is clean, wide and narrow`, async (t) => {
    for (const [name, options] of [["wide", {}], ["narrow", { width: 320, theme: "dark" }]]) {
      const page = await open(t, path, options);
      await noOverflow(page, `${path} ${name}`);
      await axeClean(page, `${path} ${name}`);
      if (shots) await page.screenshot({ path: join(shots, `${path.split("/")[1]}-${name}.png`), fullPage: true });
    }
  });
}

test("without JavaScript everything is there to read", async (t) => {
  const cluster = await open(t, slow, { javaScriptEnabled: false });
  assert.match(await cluster.locator("#verdict").textContent(), /Degraded: .*slow disk/);
  assert.equal(await cluster.locator(".tile").count(), 6);
  assert.equal(await cluster.locator(".chart").count(), 4);
  assert.ok((await cluster.locator(".chart path.line").count()) >= 8);
  assert.equal(await cluster.locator(".tools button:visible").count(), 0, "buttons that could do nothing are hidden");
  assert.match(await cluster.locator("footer").textContent(), /Made \d\d:\d\d:\d\d UTC from data to .* made anew by \d\d:\d\d:\d\d UTC/);
  const list = await open(t, happened, { javaScriptEnabled: false });
  assert.ok((await list.locator("#events tbody tr:visible").count()) > 90);
  assert.equal(await list.locator("#events-filter:visible").count(), 0, "a filter that could do nothing is hidden");
  const all = await open(t, fleet, { javaScriptEnabled: false });
  assert.equal(await all.locator("#clusters tbody tr").count(), ids.length);
});

test("works from a folder", async (t) => {
  const base = `${pathToFileURL(site)}/`;
  const page = await open(t, fleet, { base });
  assert.equal(await page.locator("html.js").count(), 1, "scripts run");
  const blue = await page.evaluate(() => getComputedStyle(document.querySelector(".badge")).borderRadius);
  assert.equal(blue, "999px", "the style sheet is applied");
  await page.click("#clusters tbody tr:first-child a");
  await page.waitForSelector("#verdict");
  await page.click("nav >> text=Fleet");
  await page.waitForSelector("#clusters");
});

test("the theme switch persists and ?theme= wins", async (t) => {
  const page = await open(t, fleet);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const lightGround = await ground();
  await page.click("#theme");
  await page.click("#theme");
  assert.equal(await page.locator("#theme").textContent(), "Theme: dark");
  const darkGround = await ground();
  assert.notEqual(darkGround, lightGround);
  await page.goto(origin + slow);
  assert.equal(await ground(), darkGround, "the next page has it too");
  await page.goto(`${origin}${slow}?theme=light`);
  assert.equal(await ground(), lightGround);
});

test("old data is called stale by the reader's clock", async (t) => {
  const page = await open(t, slow, { now: dataThrough + 26 * 60_000 });
  assert.match(await page.locator("#stale").textContent(), /Stale: the data is 26 min old/);
  await axeClean(page, "stale banner");
  const healthy = await open(t, "c/prod-us-10/index.html", { now: dataThrough + 26 * 60_000 });
  const colour = (selector) => healthy.evaluate((s) => getComputedStyle(document.querySelector(s)).color, selector);
  assert.equal(await colour("#t-quorum .badge"), await colour("#t-backup .badge"), "stale is never green");
  assert.equal(await colour(".verdict"), await colour("#t-backup .badge"), "stale is never green");
  await axeClean(healthy, "stale healthy cluster");
  if (shots) await page.screenshot({ path: join(shots, "stale.png") });
});

/** What the tiles cut off or draw over each other. */
const tileFaults = (page) => page.evaluate(() => {
  const faults = [];
  const box = (e) => e.getBoundingClientRect();
  for (const tile of document.querySelectorAll(".tile")) {
    const badge = tile.querySelector(".badge");
    for (const part of tile.querySelectorAll("h3, .val, .note")) {
      const [a, b] = [box(badge), box(part)];
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) {
        faults.push(`${tile.id}: the badge lies over ${part.textContent}`);
      }
    }
    for (const part of [tile.querySelector(".val"), tile.querySelector(".val b"), badge]) {
      if (part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0) faults.push(`${tile.id}: ${part.textContent} is cut off`);
    }
  }
  return faults;
});

for (const [what, path, name] of [["short", slow, /^etcd-\d$/], ["long", "c/prod-us-10/index.html", /compute\.internal$/]]) {
  test(`a leader's ${what} name is read whole, fresh and stale`, async (t) => {
    for (const width of [1360, 1280, 1090, 800, 390]) {
      for (const age of [20_000, 26 * 60_000]) {
        const page = await open(t, path, { width, now: dataThrough + age });
        assert.equal(await page.locator("#stale").textContent() !== "", age > 60_000);
        assert.match(await page.locator("#t-leader .val b").textContent(), name);
        assert.deepEqual(await tileFaults(page), [], `${path} at ${width} px, ${age} ms old`);
      }
    }
  });
}

test("filter, sort and state live in the address", async (t) => {
  const page = await open(t, fleet);
  const visible = () => page.locator("#clusters tbody tr:visible").count();
  await page.fill("#q", "prod us-east");
  const some = await visible();
  assert.ok(some > 0 && some < ids.length);
  assert.match(page.url(), /q=prod/);
  await page.reload();
  assert.equal(await visible(), some);
  await page.fill("#q", "");
  await page.click("a[data-state=degraded]");
  assert.equal(await visible(), Number(await page.locator("[data-count=degraded]").textContent()));
  await page.click("a[data-state=degraded]");
  await page.click("th[data-sort=fsync] button");
  assert.equal(await page.locator("th[data-sort=fsync]").getAttribute("aria-sort"), "descending");
  assert.equal(await page.locator("#clusters tbody tr").first().getAttribute("data-id"), "stage-us-02");
  assert.match(page.url(), /sort=-fsync/);
  await axeClean(page, "sorted");
});

test("a tag's value leads to its clusters", async (t) => {
  const page = await open(t, fleet);
  const line = page.locator("table.tags tbody tr", { hasText: "eu-west-1" });
  const clusters = Number(await line.locator("td").first().textContent());
  assert.ok(clusters > 1 && clusters < ids.length);
  await line.getByRole("link").click();
  await page.waitForURL(/q=region/);
  assert.equal(await page.locator("#clusters tbody tr:visible").count(), clusters);
});

test("events are filtered by keyboard, from a folder too, and the filter lives in the address", async (t) => {
  const base = `${pathToFileURL(site)}/`;
  for (const from of [origin, base]) {
    const page = await open(t, happened, { base: from });
    const all = await page.locator("#events tbody tr").count();
    const visible = () => page.locator("#events tbody tr:visible").count();
    assert.ok(all > 90 && (await visible()) === all);
    await page.focus("#events-filter [name=q]");
    await page.keyboard.type("QUOTA-backend");
    assert.equal(await visible(), 1);
    assert.match(await page.locator("#events tbody tr:visible .diff").textContent(), /quota-backend-bytes.*2147483648.*8589934592/);
    await page.keyboard.press("Enter");
    assert.equal(await visible(), 1, "Enter sends no form");
    await page.fill("#events-filter [name=q]", "");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("name")), "kind");
    await page.keyboard.type("version");
    await page.keyboard.press("Enter");
    assert.equal(await visible(), 40);
    assert.equal(await page.locator("#shown").textContent(), `40 of ${all}`);
    await page.selectOption("#events-filter [name=kind]", "");
    await page.selectOption("#events-filter [name=severity]", "warning");
    assert.equal(await visible(), 2);
    await page.selectOption("#events-filter [name=severity]", "");
    await page.selectOption("#events-filter [name=cluster]", "former-eu-99");
    assert.equal(await visible(), 1);
    assert.equal(await page.locator("#events tbody tr:visible a").count(), 0, "a cluster that is gone has no page");
    assert.match(page.url(), /cluster=former-eu-99/);
    await page.reload();
    assert.equal(await visible(), 1, "the address has the filter");
    // axe fetches the style sheet, which a page from a folder may not.
    if (from === origin) await axeClean(page, "filtered");
    await page.selectOption("#events-filter [name=cluster]", "stage-us-02");
    await page.click("#events tbody tr:visible a >> nth=0");
    await page.waitForSelector("#verdict");
  }
});

test("an alert shows its cause, and an event the metrics that moved", async (t) => {
  const page = await open(t, slow);
  assert.match(await page.locator("#alerts").textContent(), /Probable cause: 1 min before: etcd-1 defragments its database/);
  await page.click("#alerts summary >> nth=0");
  assert.match(await page.locator("#alerts details[open]").first().textContent(), /10 min before: flags of etcd-0 changed/);
  assert.match(await page.locator("#events tr", { hasText: "etcd-1 defragments" }).locator(".moved").textContent(), /Put latency p99: .* → /);
  await axeClean(page, "cause");
});

test("live states arrive, and hostile ones stay text", async (t) => {
  const page = await open(t, fleet);
  liveBody = structuredClone(live);
  liveBody.data_through = new Date(dataThrough + 10_000).toISOString();
  const healthy = liveBody.clusters.find((c) => c.state === "healthy");
  healthy.state = "critical";
  healthy.leader = "<img src=x onerror=alert(9)>";
  try {
    const row = page.locator(`#clusters tr[data-id="${healthy.id}"]`);
    await row.locator(".badge.crit").waitFor({ timeout: 20_000 });
    assert.equal(await row.locator("[data-l=Leader]").textContent(), healthy.leader);
    assert.equal(await row.locator("img").count(), 0);
    assert.equal(await page.locator("[data-live=through]").textContent(), "14:05:22 UTC");
  } finally {
    liveBody = null;
  }
});

test("hostile text stays text", async (t) => {
  const page = await open(t, "c/stage-eu-05/index.html");
  assert.equal(await page.locator("main script, main img, main [onload], main [onerror]").count(), 0);
  const hrefs = await page.locator("a").evaluateAll((all) => all.map((a) => a.getAttribute("href")));
  assert.deepEqual(hrefs.filter((href) => /^(javascript|data):/i.test(href)), []);
  assert.match(await page.locator("#members").textContent(), /\\u\{202e\}/);
});

test("prints as pages that carry the verdict", async (t) => {
  const page = await open(t, slow, { theme: "dark" });
  const pdf = await page.pdf({ preferCSSPageSize: true, printBackground: true });
  assert.ok(pdf.length > 20_000, `${pdf.length} B`);
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator(".tools").isVisible(), false);
  assert.equal(await page.locator("#verdict").isVisible(), true);
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(ground, "rgb(255, 255, 255)");
});

test("a first visit is small", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  let bytes = 0;
  let requests = 0;
  page.on("response", async (response) => {
    requests++;
    bytes += (await response.body().catch(() => Buffer.alloc(0))).length;
  });
  await page.goto(origin + slow, { waitUntil: "load" });
  const lcp = await page.evaluate(
    () => new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true })),
  );
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  console.log(`cluster page: ${requests} requests, ${bytes} B uncompressed, LCP ${Math.round(lcp)} ms, ${nodes} nodes`);
  assert.ok(requests <= 5, `${requests} requests`);
  assert.ok(nodes <= 3000, `${nodes} nodes`);
});
