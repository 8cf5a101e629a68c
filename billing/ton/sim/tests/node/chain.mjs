// The simulated chain as a process: MULBERRY_CHAIN, the example `chain` of this package, on a port of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export async function startChain() {
  const chain = spawn(process.env.MULBERRY_CHAIN, [], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: chain.stdout });
  // Kept until they are asked for: both may come at once.
  const printed = lines[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await printed.next();
    assert.ok(!done, 'the chain ended');
    return value;
  };
  const endpoint = await line();
  // As `lite-server HOST:PORT KEY`, from a build that has one.
  const [, liteServer, liteKey] = (await line()).split(' ');

  async function danger(route, query) {
    const answer = await fetch(new URL(`/${route}?${new URLSearchParams(query)}`, endpoint), { method: 'POST' });
    const told = await answer.json();
    assert.equal(told.ok, true, JSON.stringify(told));
    return told.result;
  }

  return {
    endpoint,
    liteServer,
    liteKey,
    danger,
    fund: (address, nano) => danger('danger_faucet', { address: address.toString(), amount: String(nano) }),
    async stop() {
      const ended = new Promise((resolve) => chain.once('exit', resolve));
      chain.kill('SIGTERM');
      assert.equal(await ended, 0);
    },
  };
}
