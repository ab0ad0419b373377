// An app behind a sidecar: Node.js, and nothing else. It gets each order once, and what it answers
// with is published in the transaction that settles the order.
import { createServer } from "node:http";

const PORT = Number(process.env.PORT ?? 8080);

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const order = Buffer.concat(chunks).toString();
  const key = request.headers["idempotency-key"].slice(1, -1);

  if (order === "") {
    response.writeHead(422).end("an order without content"); // a dead letter: no other try can help
    return;
  }
  response.writeHead(200, {
    "ce-specversion": "1.0",
    "ce-id": `receipt-${key}`,
    "ce-source": "/receipts",
    "ce-type": "order.charged",
    "content-type": "text/plain",
  });
  response.end(`charged ${order}`);
});

server.listen(PORT, "127.0.0.1", () => console.log(`listening on ${PORT}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
