// A forward receiver: the Fluent organisation's own server, writing each entry as a line of JSON.
// Usage: node forward.mjs '{"port": 24224, "security": {…}, "tls": {"cert": PATH, "key": PATH}}'
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { FluentServer } = createRequire(process.cwd() + "/")("@fluent-org/logger");
const { port, security, tls } = JSON.parse(process.argv[2]);

// FluentServer acknowledges a chunk and emits its entries only then: killed in between, it would have lost what
// it acknowledged. As Fluentd with a file buffer does, this one answers once the entries are in the file.
// The chunk it acknowledges is the one whose entries follow: {"ack": <fixstr>} in msgpack.
let chunk = null;
class Durable extends FluentServer {
  handleConnection(socket) {
    const write = socket.write.bind(socket);
    socket.write = (data) => {
      chunk = data.toString("latin1").split("ack")[1]?.slice(1) ?? null;
      queueMicrotask(() => write(data)); // runs behind the loop that emits the entries
    };
    return super.handleConnection(socket);
  }
}

const server = new Durable({
  listenOptions: { host: "127.0.0.1", port },
  ...(security && { security }),
  ...(tls && { tlsOptions: { cert: readFileSync(tls.cert), key: readFileSync(tls.key) } }),
});
server.on("entry", (tag, time, record) => {
  const { epoch, nano } = time?.epoch === undefined ? { epoch: time, nano: null } : time;
  process.stdout.write(JSON.stringify({ tag, epoch, nano, record, chunk }) + "\n");
});
await server.listen();
process.stdout.write("ready\n");
