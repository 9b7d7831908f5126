// What a page can do besides being read. Every part is extra: without it nothing is missing.
// All text goes through textContent: cluster names and messages are not ours.

import { events } from "./events";

const body = document.body;
const through = Number(body.dataset.through);
let newest = through;
// Until the live file says better: when this page should have been replaced by a newer one.
let staleAt = Number(body.dataset.staleAfter);
let skew = 0;

const byId = (id: string): HTMLElement | null => document.getElementById(id);
const params = (): URLSearchParams => new URLSearchParams(location.search);

function setParam(name: string, value: string): void {
  const query = params();
  value ? query.set(name, value) : query.delete(name);
  const text = query.toString();
  history.replaceState(null, "", (text ? `?${text}` : location.pathname) + location.hash);
}

function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function themes(): void {
  const button = byId("theme");
  if (!button) return;
  const order = ["auto", "light", "dark"];
  let now = document.documentElement.dataset.theme ?? "auto";
  const show = (): void => {
    button.textContent = `Theme: ${now}`;
  };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    now = order[(order.indexOf(now) + 1) % 3] ?? "auto";
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    try {
      now === "auto" ? localStorage.removeItem("theme") : localStorage.setItem("theme", now);
    } catch {
      // Lasts for this page only.
    }
    setParam("theme", "");
    show();
  });
}

function tools(): void {
  const copy = byId("copy");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", () => {
      navigator.clipboard.writeText(location.href).then(
        () => (copy.textContent = "Copied"),
        () => (copy.textContent = "Copy failed"),
      );
      setTimeout(() => (copy.textContent = "Copy link"), 2000);
    });
  }
  const print = byId("print");
  if (print) {
    print.hidden = false;
    print.addEventListener("click", () => window.print());
  }
}

function staleness(): void {
  const banner = byId("stale");
  const time = document.querySelector<HTMLElement>("[data-live=through]");
  if (!banner || !time) return;
  const age = Date.now() + skew - newest;
  time.title = `${span(age)} ago`;
  const stale = Date.now() + skew > staleAt;
  if (stale !== body.classList.contains("is-stale")) body.classList.toggle("is-stale", stale);
  // Rounded to what is shown, so that a screen reader is not told every second.
  const text = stale ? `Stale: the data is ${span(age)} old. What is shown may no longer be true.` : "";
  if (banner.textContent !== text) banner.textContent = text;
}

function table(): void {
  const all = byId("clusters");
  const rows = all ? Array.from(all.querySelectorAll<HTMLTableRowElement>("tbody tr")) : [];
  if (!all || !rows.length) return;
  const input = byId("q") as HTMLInputElement;
  const shown = byId("shown");
  const counts = Array.from(document.querySelectorAll<HTMLAnchorElement>("a[data-state]"));
  const label = input.closest("label");
  if (label) label.hidden = false;
  input.value = params().get("q") ?? "";
  let state = params().get("state") ?? "";
  const filter = (): void => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const row of rows) {
      const text = (row.dataset.text ?? "").toLowerCase();
      const fits = words.every((word) => text.includes(word)) && (!state || row.dataset.state === state);
      row.hidden = !fits;
      if (fits) n++;
    }
    if (shown) shown.textContent = n === rows.length ? "" : `${n} of ${rows.length}`;
    for (const a of counts) a.setAttribute("aria-current", String(a.dataset.state === state));
  };
  input.addEventListener("input", () => {
    setParam("q", input.value);
    filter();
  });
  for (const a of counts) {
    a.addEventListener("click", (event) => {
      event.preventDefault();
      state = state === a.dataset.state ? "" : (a.dataset.state ?? "");
      setParam("state", state);
      filter();
    });
  }
  filter();

  const heads = Array.from(all.querySelectorAll<HTMLTableCellElement>("th[data-sort]"));
  const original = rows.slice();
  const sort = (key: string): void => {
    const down = key.startsWith("-");
    const name = down ? key.slice(1) : key;
    const head = heads.find((h) => h.dataset.sort === name);
    const column = head ? head.cellIndex : -1;
    const value = (row: HTMLTableRowElement): number | string | undefined => {
      const cell = row.cells[column];
      if (name === "name") return row.dataset.id;
      if (name === "state") return original.indexOf(row);
      return cell?.dataset.v === undefined ? undefined : Number(cell.dataset.v);
    };
    const sorted = original.slice();
    if (head) {
      sorted.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        // Without a value: last in both directions.
        if (x === undefined || y === undefined) return Number(x === undefined) - Number(y === undefined);
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
    }
    for (const h of heads) {
      if (h === head) h.setAttribute("aria-sort", down ? "descending" : "ascending");
      else h.removeAttribute("aria-sort");
    }
    all.tBodies[0]?.append(...sorted);
  };
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.append(button);
    button.addEventListener("click", () => {
      const name = head.dataset.sort ?? "";
      const numbers = !["name", "state"].includes(name);
      const now = params().get("sort") ?? "";
      const next = now === name ? `-${name}` : now === `-${name}` ? (numbers ? name : "") : numbers ? `-${name}` : name;
      setParam("sort", next);
      sort(next);
    });
  }
  const wanted = params().get("sort");
  if (wanted) sort(wanted);
}

interface Live {
  data_through: string;
  stale_after: string;
  clusters: { id: string; state: string; members: string; leader: string; alerts: number }[];
}

const words: Record<string, [string, string]> = {
  "no-quorum": ["crit", "No quorum"],
  critical: ["crit", "Critical"],
  degraded: ["warn", "Degraded"],
  stale: ["unknown", "Stale data"],
  unknown: ["unknown", "Unknown"],
  healthy: ["ok", "Healthy"],
};

function badge(inside: Element | null | undefined, state: string): void {
  const old = inside?.querySelector(".badge");
  const [look, word] = words[state] ?? ["unknown", "Unknown"];
  if (!old || old.textContent?.trim() === word) return;
  // The live file does not know the figures that this state rests on.
  if (look === "ok" && old.closest("[data-limits]")) return;
  old.className = `badge ${look}`;
  old.querySelector("use")?.setAttribute("href", `#i-${look}`);
  if (old.lastChild) old.lastChild.textContent = word;
}

function apply(live: Live): void {
  const ts = Date.parse(live.data_through);
  if (!(ts >= newest)) return;
  newest = ts;
  staleAt = Date.parse(live.stale_after);
  const time = document.querySelector<HTMLElement>("[data-live=through]");
  if (time) time.textContent = `${new Date(ts).toISOString().slice(11, 19)} UTC`;
  for (const cluster of live.clusters) {
    const id = CSS.escape(cluster.id);
    badge(document.querySelector(`[data-live=state][data-id="${id}"]`), cluster.state);
    const row = document.querySelector<HTMLTableRowElement>(`#clusters tr[data-id="${id}"]`);
    if (!row) continue;
    badge(row.querySelector("[data-l=State]"), cluster.state);
    const set = (name: string, text: string): void => {
      const cell = row.querySelector(`[data-l="${name}"]`);
      if (cell && cell.textContent !== text) cell.textContent = text;
    };
    set("Members", cluster.members || "–");
    set("Leader", cluster.leader);
    set("Alerts", String(cluster.alerts));
  }
  staleness();
}

async function poll(wait: number): Promise<void> {
  let next = wait;
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(`${body.dataset.root}api/v1/live/fleet.json`, { cache: "no-cache" });
      if (answer.status === 404) return;
      if (!answer.ok) throw new Error(String(answer.status));
      const date = Date.parse(answer.headers.get("date") ?? "");
      // The reader's clock may be wrong; the server's is what the data was stamped by.
      if (Math.abs(date - Date.now()) > 60000) skew = date - Date.now();
      apply((await answer.json()) as Live);
      next = 5000;
    } catch {
      next = Math.min(wait * 2, 60000);
    }
  }
  setTimeout(() => void poll(next), next);
}

themes();
tools();
table();
events(params, setParam);
staleness();
setInterval(staleness, 1000);
if (location.protocol.startsWith("http")) void poll(5000);
