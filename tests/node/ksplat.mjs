// Write a .ksplat with the package that defines the format, and print what it reads back.
//
// node ksplat.mjs FROM.ply TO.ksplat LEVEL DEGREE BLOCK BUCKET [SECTIONS]
import fs from 'node:fs';
import path from 'node:path';

const [from, to, level, degree, block, bucket, sections = 1] = process.argv.slice(2);
const folder = path.join(import.meta.dirname, 'node_modules/@mkkellogg/gaussian-splats-3d/build');
const { PlyParser, SplatBuffer } = await import(path.join(folder, 'gaussian-splats-3d.module.js'));
const read = fs.readFileSync(from);
const bytes = read.buffer.slice(read.byteOffset, read.byteOffset + read.byteLength);
const splats = PlyParser.parseToUncompressedSplatArray(bytes, Number(degree));
const parts = Array.from({ length: Number(sections) }, (_, part) => {
    const some = Object.create(splats);
    some.splats = splats.splats.filter((_, row) => row % Number(sections) === part);
    some.splatCount = some.splats.length;
    return some;
});
const made = SplatBuffer.generateFromUncompressedSplatArrays(
    parts, 0, Number(level), { x: 0, y: 0, z: 0 }, Number(block), Number(bucket));
fs.writeFileSync(to, Buffer.from(made.bufferData));
const centre = { x: 0, y: 0, z: 0 };
const centres = Array.from({ length: made.getSplatCount() }, (_, row) => {
    made.getSplatCenter(row, centre);
    return [centre.x, centre.y, centre.z];
});
console.log(JSON.stringify(centres));
