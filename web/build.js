// Bundles web/ into the page that the package carries. `--check` only says whether that page is up to date.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const page = fileURLToPath(new URL("../src/lookbehind/atlas/page/", import.meta.url));

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: [
    { in: "main.js", out: "app" },
    { in: "app.css", out: "app" },
  ],
  outdir: page,
  bundle: true,
  write: false,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: {
    js: "// Made by `npm run build` in web/ from the modules there: change those, not this.",
    css: "/* Made by `npm run build` in web/: change the style sheets there, not this. */",
  },
});

/** @type {Map<string, string>} */
const files = new Map();
for (const file of outputFiles) files.set(file.path.slice(page.length), file.text);
files.set("index.html", await readFile(`${here}index.html`, "utf8"));

if (process.argv.includes("--check")) {
  const stale = [];
  for (const [name, text] of files) {
    const committed = await readFile(page + name, "utf8").catch(() => null);
    if (committed !== text) stale.push(name);
  }
  if (stale.length) {
    console.error(`atlas: ${stale.join(", ")} in src/lookbehind/atlas/page is not what web/ makes; run \`npm run build\` in web/`);
    process.exit(1);
  }
} else {
  await mkdir(page, { recursive: true });
  for (const [name, text] of files) await writeFile(page + name, text);
}
