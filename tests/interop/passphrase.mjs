// Passphrase messages by OpenPGP.js: one JSON request a line on standard input, one answer a line.
//
//   {"does": "lock", "data": BASE64, "passphrase": TEXT, "config": {...}}   → {"data": BASE64}
//   {"does": "unlock", "data": BASE64, "passphrase": TEXT}                  → {"data": BASE64}
//
// What OpenPGP.js refuses is answered with {"refused": true}.

import * as openpgp from "openpgp";
import { createInterface } from "node:readline";

async function lock({ data, passphrase, config }) {
  const message = await openpgp.createMessage({ binary: Buffer.from(data, "base64") });
  return openpgp.encrypt({ message, passwords: [passphrase], format: "binary", config });
}

async function unlock({ data, passphrase }) {
  const message = await openpgp.readMessage({ binaryMessage: Buffer.from(data, "base64") });
  const opened = await openpgp.decrypt({ message, passwords: [passphrase], format: "binary" });
  return opened.data;
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  try {
    const done = await (request.does === "lock" ? lock : unlock)(request);
    console.log(JSON.stringify({ data: Buffer.from(done).toString("base64") }));
  } catch {
    console.log(JSON.stringify({ refused: true }));
  }
}
