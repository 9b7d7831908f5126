// The filter of the page of events. Without it all rows are there to read.

const worse: Record<string, number> = { info: 0, warning: 1, critical: 2 };

/** `set` keeps a choice in the address, so that a filtered page can be sent to somebody. */
export function events(params: () => URLSearchParams, set: (name: string, value: string) => void): void {
  const form = document.getElementById("events-filter") as HTMLFormElement | null;
  const shown = document.getElementById("shown");
  const rows = Array.from(document.querySelectorAll<HTMLTableRowElement>("#events tbody tr"));
  if (!form || !shown) return;
  const fields = Array.from(form.querySelectorAll<HTMLInputElement | HTMLSelectElement>("[name]"));
  const texts = rows.map((row) => row.textContent?.toLowerCase() ?? "");
  const filter = (): void => {
    const [q = "", kind, cluster, severity = ""] = fields.map((field) => field.value);
    const words = q.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    rows.forEach((row, at) => {
      const is = row.dataset;
      const fits =
        (!kind || is.kind === kind) &&
        (!cluster || is.cluster === cluster) &&
        (worse[is.severity ?? ""] ?? 0) >= (worse[severity] ?? 0) &&
        words.every((word) => texts[at]?.includes(word));
      row.hidden = !fits;
      if (fits) n++;
    });
    shown.textContent = n === rows.length ? "" : `${n} of ${rows.length}`;
  };
  for (const field of fields) {
    field.value = params().get(field.name) ?? "";
    field.addEventListener("input", () => {
      set(field.name, field.value);
      filter();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
