// Write an .spz with the reference implementation, or read one.
//
// node spz.mjs write FROM.json TO.spz       FROM holds the cloud's fields, version, axes and bits
// node spz.mjs read FROM.spz                prints the cloud in the axes of a .ply
import fs from 'node:fs';

import createSpz from '@adobe/spz';

console.log = () => {};
const spz = await createSpz();
const [what, from, to] = process.argv.slice(2);
if (what === 'write') {
    const given = JSON.parse(fs.readFileSync(from));
    const cloud = { ...given.cloud, extensions: [] };
    for (const [name, values] of Object.entries(cloud)) {
        if (Array.isArray(values) && name !== 'extensions') cloud[name] = new Float32Array(values);
    }
    fs.writeFileSync(to, await spz.saveSpzToBuffer(cloud, {
        version: given.version, from: spz.CoordinateSystem[given.axes], sh1Bits: 8, shRestBits: 8,
    }));
} else {
    const options = { to: spz.CoordinateSystem.RDF };
    const cloud = await spz.loadSpzFromBuffer(new Uint8Array(fs.readFileSync(from)), options);
    const shown = { antialiased: cloud.antialiased, shDegree: cloud.shDegree };
    for (const name of ['positions', 'scales', 'rotations', 'alphas', 'colors', 'sh']) {
        shown[name] = Array.from(cloud[name], (value) => Math.max(-1e9, Math.min(1e9, value)));
    }
    process.stdout.write(JSON.stringify(shown));
}
