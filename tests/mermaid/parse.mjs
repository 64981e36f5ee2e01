// Parses Mermaid texts with the real mermaid.js: `parse.mjs FOLDER VERSION`, a JSON list of texts on stdin. Prints for each
// what mermaid.js understood, or the error that it shows.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

const [folder, version] = process.argv.slice(2);
const { parseHTML } = await import(pathToFileURL(`${folder}/linkedom.mjs`));
const { window } = parseHTML("<!doctype html><html><body></body></html>");
globalThis.window = window;
globalThis.document = window.document;
vm.runInThisContext(readFileSync(`${folder}/mermaid-${version}.js`, "utf8"));
globalThis.mermaid.initialize({ startOnLoad: false });

const understood = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const { diagramType, config } = await globalThis.mermaid.parse(text);
    const { db } = await globalThis.mermaid.mermaidAPI.getDiagramFromText(text);
    understood.push({ type: diagramType, config, title: db.getAccTitle(), document: db.rootDoc });
  } catch (error) {
    understood.push({ error: String(error?.message ?? error) });
  }
}
console.log(JSON.stringify(understood));
