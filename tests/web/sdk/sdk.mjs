// Runs one scene with the official SDK: node sdk.mjs SCENE LISTENER [PRODUCT_API]
import { createAuth, Room } from './node_modules/@inlivedev/inlive-js-sdk/dist/room.js'

const [scene, baseUrl, product] = process.argv.slice(2)
const apiKey = 'default' // the name of the token; the SDK demands a text, and there is no key here

const scenes = {
  // What createAuth() returns.
  one: async () => await createAuth({ baseUrl, apiKey }),

  // A thousand calls at once. Returns the distinct access tokens.
  thousand: async () => {
    const all = await Promise.all(Array.from({ length: 1000 }, () => createAuth({ baseUrl, apiKey })))
    return [...new Set(all.map((auth) => auth.data.accessToken))]
  },

  // A room that creates rooms. Between two calls, whoever started this makes the token expire.
  renewal: async () => {
    const room = Room({ api: { baseUrl: product } })
    room.setAuth(await createAuth({ baseUrl, apiKey }))
    const first = await room.createRoom('first')
    console.log(JSON.stringify(first.code))
    await new Promise((resolve) => process.stdin.once('data', resolve))
    const second = await room.createRoom('second')
    process.stdin.destroy()
    return second.code
  },
}

console.log(JSON.stringify(await scenes[scene]()))
