// js-libp2p is written for Node.js 22; Node.js 20 lacks this one function. Import it first.

Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}
