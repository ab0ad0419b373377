// Publishes an order through a sidecar, as a CloudEvent: Node.js, and nothing else.
//   node publish.mjs ORDER TEXT
import { setTimeout as sleep } from "node:timers/promises";

const URL_ = process.env.EOS_URL ?? "http://127.0.0.1:7070";
const TOPIC = process.env.TOPIC ?? "orders";

// Its `source` and `id` are the idempotency key: the same order is published once.
export async function publish(order, text) {
  const headers = {
    "ce-specversion": "1.0",
    "ce-id": order,
    "ce-source": "/shop",
    "ce-type": "order.placed",
    "content-type": "text/plain",
  };
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      const answer = await fetch(`${URL_}/v1/topics/${TOPIC}`, {
        method: "POST",
        headers,
        body: text,
        signal: AbortSignal.timeout(30_000),
      });
      if (answer.ok) return await answer.json();
      if (answer.status !== 409 && answer.status !== 503) {
        throw Object.assign(new Error((await answer.json()).detail), { final: true });
      }
    } catch (error) {
      if (error.final) throw error; // anything else may have happened, or not: ask again
    }
    await sleep(1000 * Math.min(2 ** attempt * 0.2, 8));
  }
  throw new Error("no answer: publish it again, with the same id");
}

console.log(JSON.stringify(await publish(process.argv[2], process.argv[3])));
