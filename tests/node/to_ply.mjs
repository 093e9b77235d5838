// Read files of splats with splat-transform, all in one process, and write each beside itself as a .ply.
//
//     node to_ply.mjs FILE...

import { readFileSync, writeFileSync } from "node:fs";
import {
  convertToSpace, getInputFormat, MemoryFileSystem, MemoryReadFileSystem, readFile, Transform, writePly,
} from "@playcanvas/splat-transform";

for (const path of process.argv.slice(2)) {
  const input = new MemoryReadFileSystem();
  input.set(path, new Uint8Array(readFileSync(path)));
  const [table] = await readFile({
    filename: path, inputFormat: getInputFormat(path), options: {}, params: [], fileSystem: input,
  });
  const output = new MemoryFileSystem();
  const dataTable = convertToSpace(table, Transform.PLY);
  await writePly({ filename: "out.ply", plyData: { comments: [], elements: [{ name: "vertex", dataTable }] } }, output);
  writeFileSync(`${path}.ply`, output.results.get("out.ply"));
}
