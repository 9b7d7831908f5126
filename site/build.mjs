// Builds dist/ from src/. With --check: fails if what is checked in differs from a fresh build.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const check = process.argv.includes("--check");
const budgets = { "site.css": 6000, "boot.js": 600, "app.js": 2900 };
const result = await build({
  entryPoints: ["src/site.css", "src/boot.ts", "src/app.ts"],
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2020", "chrome100", "firefox100", "safari15"],
  outdir: "dist",
  charset: "utf8",
  legalComments: "none",
  write: !check,
});
let failed = false;
for (const file of result.outputFiles ?? []) {
  const stored = readFileSync(file.path, "utf8");
  if (stored !== file.text) {
    console.error(`${file.path} is stale: run npm run build`);
    failed = true;
  }
}
for (const [name, budget] of Object.entries(budgets)) {
  const bytes = gzipSync(readFileSync(new URL(`dist/${name}`, import.meta.url)), { level: 9 }).length;
  console.log(`${name}: ${bytes} B gzip of ${budget}`);
  if (bytes > budget) failed = true;
}
process.exit(failed ? 1 : 0);
