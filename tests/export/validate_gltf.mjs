// Prints the report of Khronos' glTF validator as JSON: node validate_gltf.mjs FILE MODULES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , file, modules] = process.argv;
const validator = createRequire(join(modules, "here.js"))("gltf-validator");
const report = await validator.validateBytes(new Uint8Array(readFileSync(file)));
console.log(JSON.stringify(report));
