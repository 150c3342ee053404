// Hands a browser what room.setAuth() takes, without the refresh token. Put your own login in front of it.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const server = createServer(async (request, response) => {
  if (request.method !== "GET" || request.url !== "/auth") return response.writeHead(404).end();
  try {
    const auth = JSON.parse(await readFile(process.env.AUTH_FILE, "utf8")); // format inlive-sdk
    auth.data.refreshToken = ""; // it can mint, and lives twice as long
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify(auth));
  } catch {
    response.writeHead(503, { "retry-after": "1" }).end(); // no token yet
  }
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => console.log(server.address().port));
