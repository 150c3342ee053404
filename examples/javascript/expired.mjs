// What to do when a token has expired: take the next one from the file, or report it to the daemon.
import { readFile } from "node:fs/promises";
import { request } from "node:http";

export async function successor(expired, tokenFile, socketPath = process.env.REFRESHER_SOCKET) {
  const token = await readFile(tokenFile, "utf8");
  return token !== expired || !socketPath ? token : report(expired, socketPath);
}

function report(expired, socketPath) {
  return new Promise((resolve, reject) => {
    const options = { socketPath, method: "POST", path: "/expired/", headers: { "content-type": "application/json" } };
    const sent = request(options, async (response) => {
      let body = "";
      for await (const part of response.setEncoding("utf8")) body += part;
      if (response.statusCode === 200) resolve(JSON.parse(body).access_token);
      else reject(new Error(`no new token yet: ${response.statusCode}`)); // try again after Retry-After
    });
    sent.on("error", reject);
    sent.end(JSON.stringify({ access_token: expired }));
  });
}
