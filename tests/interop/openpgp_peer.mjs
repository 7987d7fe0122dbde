// OpenPGP.js as a peer: one request a line on standard input, one answer a line on standard output,
// JSON with every binary value in base64. It is handed all keys that it uses, and keeps none.

import { createInterface } from "node:readline";
import * as openpgp from "openpgp";

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const base64 = (octets) => Buffer.from(octets).toString("base64");
const secret = (text) => openpgp.readPrivateKey({ binaryKey: bytes(text) });
const certificate = (text) => openpgp.readKey({ binaryKey: bytes(text) });
const message = (text) => openpgp.readMessage({ binaryMessage: bytes(text) });
const plain = (text) => openpgp.createMessage({ binary: bytes(text) });

const KINDS = {
  curve25519: { type: "ecc", curve: "curve25519Legacy" },
  rsa3072: { type: "rsa", rsaBits: 3072 },
  algorithms25and27: { type: "curve25519" }, // of RFC 9580, in a key of version 4
  // Keys that say that they take containers of version 2.
  newer: { type: "ecc", curve: "curve25519Legacy", config: { aeadProtect: true } },
  newer25and27: { type: "curve25519", config: { aeadProtect: true } },
};

const REQUESTS = {
  async newKey({ userId, kind }) {
    const made = await openpgp.generateKey({
      ...KINDS[kind],
      userIDs: [{ name: userId }],
      format: "binary",
    });
    return made.privateKey;
  },

  async signcrypt({ data, signer, to }) {
    return openpgp.encrypt({
      message: await plain(data),
      encryptionKeys: await Promise.all(to.map(certificate)),
      signingKeys: await secret(signer),
      format: "binary",
    });
  },

  async open({ message: sealed, key, signer }) {
    const { data } = await openpgp.decrypt({
      message: await message(sealed),
      decryptionKeys: await secret(key),
      verificationKeys: await certificate(signer),
      expectSigned: true,
      format: "binary",
    });
    return data;
  },

  async lock({ data, passphrase, aead }) {
    return openpgp.encrypt({
      message: await plain(data),
      passwords: passphrase,
      format: "binary",
      config: { aeadProtect: aead },
    });
  },

  async unlock({ message: locked, passphrase }) {
    const { data } = await openpgp.decrypt({
      message: await message(locked),
      passwords: passphrase,
      format: "binary",
    });
    return data;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { does, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { octets: base64(await REQUESTS[does](request)) };
  } catch (error) {
    answer = { refused: error.message };
  }
  console.log(JSON.stringify(answer));
}
