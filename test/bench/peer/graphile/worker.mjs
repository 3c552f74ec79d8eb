// peer/graphile/worker.mjs: graphile-worker as a peer in the benchmark.
// SPDX-License-Identifier: PostgreSQL
//
//   node worker.mjs migrate              make its schema
//   node worker.mjs drain COUNT AGENTS   work COUNT jobs, print how fast
//   node worker.mjs latency AGENTS FILE  note number and time of every job
//                                        until stdin closes
//
// The clock of hrtime is CLOCK_MONOTONIC. drain uses what its manual advises
// for throughput: a local queue and batched completion.
import fs from 'node:fs'
import { Logger, run, runMigrations } from 'graphile-worker'

const FIRST_SEQ = 100000000000
const [mode, first, second] = process.argv.slice(2)
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})

function preset (agents, fast) {
  const worker = {
    connectionString: `postgres:///${process.env.PGDATABASE}`,
    concurrentJobs: agents,
    maxPoolSize: agents + 4,
    logger
  }
  if (fast) {
    worker.localQueue = { size: 500 }
    worker.completeJobBatchDelay = 0
    worker.failJobBatchDelay = 0
  }
  return { worker }
}

async function drain (count, agents) {
  let done = 0
  let finished
  const all = new Promise(resolve => { finished = resolve })
  const start = process.hrtime.bigint()
  const runner = await run({
    preset: preset(agents, true),
    taskList: {
      measured: () => { if (++done === count) finished() }
    }
  })
  await all
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  await runner.stop()
  console.log(JSON.stringify({ events: done, seconds, per_s: done / seconds }))
}

async function latency (agents, path) {
  const lines = []
  const runner = await run({
    preset: preset(agents, false),
    taskList: {
      measured: payload => {
        lines.push(`${payload.seq - FIRST_SEQ} ${process.hrtime.bigint()}`)
      }
    }
  })
  console.log('ready')
  process.stdin.resume()
  await new Promise(resolve => process.stdin.on('end', resolve))
  await runner.stop()
  fs.writeFileSync(path, lines.join('\n') + '\n')
}

if (mode === 'migrate') await runMigrations({ preset: preset(1, false) })
else if (mode === 'drain') await drain(Number(first), Number(second))
else await latency(Number(first), second)
process.exit(0)
