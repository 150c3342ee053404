// Calls the Inlive API from Node with the token that the refresher keeps in a file.
import { readFile } from "node:fs/promises";
import { successor } from "./expired.mjs";

export async function call(path, options = {}, tokenFile = process.env.TOKEN_FILE, api = process.env.INLIVE_URL) {
  const send = async (token) =>
    fetch(new URL(path, api), { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } });
  const token = await readFile(tokenFile, "utf8"); // for each call: the refresher replaces the file
  const response = await send(token);
  if (response.status !== 403 || !response.headers.has("x-access-token-expired")) return response;
  const next = await successor(token, tokenFile);
  return next === token ? response : send(next); // once more, no loop
}
