// Installs the pinned browser and fonts: node install.js <folder>

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { brotliDecompressSync } from "node:zlib";

const folder = path.resolve(process.argv[2]);
const modules = path.join(import.meta.dirname, "node_modules");
const packed = (name) => brotliDecompressSync(readFileSync(path.join(modules, "@sparticuz/chromium/bin", name)));

mkdirSync(folder, { recursive: true });
if (process.arch === "x64") {
  writeFileSync(path.join(folder, "chromium"), packed("chromium.br"), { mode: 0o755 });
  // The libraries that it needs besides glibc, into lib/.
  execFileSync("tar", ["-x", "-C", folder], { input: packed("al2023.tar.br") });
} else {
  // The package has no browser for other architectures. Use an installed one.
  const program = ["chromium", "chromium-browser", "google-chrome"].find(isOnPath);
  if (!program) {
    console.error(`There is no pinned Chromium for ${process.arch}. Install one, such as Debian's package chromium.`);
    process.exit(1);
  }
  writeFileSync(path.join(folder, "chromium"), `#!/bin/sh\nexec ${program} "$@"\n`, { mode: 0o755 });
}

// The same fonts on every machine.
const alias = (family, preferred) =>
  `<match target="pattern"><test name="family"><string>${family}</string></test>` +
  `<edit name="family" mode="prepend" binding="strong"><string>${preferred}</string></edit></match>`;
rmSync(path.join(folder, "font-cache"), { recursive: true, force: true });
writeFileSync(
  path.join(folder, "fonts.conf"),
  `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
<dir>${path.join(modules, "@expo-google-fonts")}</dir>
<cachedir>${path.join(folder, "font-cache")}</cachedir>
${["system-ui", "sans-serif", "serif"].map((family) => alias(family, "Inter")).join("\n")}
${alias("monospace", "JetBrains Mono")}
</fontconfig>
`,
);

function isOnPath(program) {
  return (process.env.PATH ?? "").split(path.delimiter).some((it) => {
    try {
      return readFileSync(path.join(it, program)).length > 0;
    } catch {
      return false;
    }
  });
}
