// An OAuth2 server on loopback: node server.mjs SETTINGS. Prints its port. Reads the file SETTINGS at each request:
// {"clients": [CLIENT, …], "expires_in": {CLIENT_ID: VALUE, …}}. A VALUE replaces what oidc-provider answers; null removes it.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const settings = () => JSON.parse(readFileSync(process.argv[2], 'utf8'))

class Adapter {
  static stored = new Map()
  constructor(model) {
    this.model = model
  }
  async find(id) {
    if (this.model === 'Client') return settings().clients.find((client) => client.client_id === id)
    return Adapter.stored.get(`${this.model} ${id}`)
  }
  async upsert(id, payload) {
    Adapter.stored.set(`${this.model} ${id}`, payload)
  }
}

const configuration = {
  adapter: Adapter,
  scopes: ['reports.read', 'reports.write'],
  ttl: { ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // A client that names a resource gets a JWT, and else an opaque token.
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({ scope: 'reports.read', accessTokenFormat: 'jwt' }),
    },
  },
}

const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address()
  const provider = new Provider(`http://127.0.0.1:${port}`, configuration)
  provider.use(async (ctx, next) => {
    await next()
    const answers = settings().expires_in
    const id = ctx.oidc?.client?.clientId
    if (ctx.body?.access_token && id in answers) {
      const { expires_in, ...rest } = ctx.body
      ctx.body = answers[id] === null ? rest : { ...rest, expires_in: answers[id] }
    }
  })
  server.on('request', provider.callback())
  console.log(port)
})
