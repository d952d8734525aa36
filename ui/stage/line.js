// The line to the server: one WebSocket, opened again whenever it breaks. Owns what was not acknowledged yet, and
// keeps it over a reload. Knows nothing of what the messages mean.

const SLOW_MS = 3000;
const AGAIN_MS = 1500;
const WAITS_MS = [100, 250, 500, 1000, 2000, 4000];

class Line {
  constructor(thread, { hear, acked, changed }) {
    this.thread = thread;
    this.token = "";
    this.page = newId();
    this.open = false;
    this.slow = false;
    this.hear = hear;
    this.acked = acked;
    this.changed = changed;
    this.ended = false;
    this.seq = 0;
    this.tries = 0;
    this.waiting = new Map();
    this.box = `inner.unsent.${thread}`;
    this.unsent = new Map((memory.read(this.box) ?? []).map((event) => [event.id, event]));
    this.watch = setInterval(() => this.look(), 500);
    this.retry = () => document.visibilityState === "visible" && this.connect();
    addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.retry);
  }

  connect() {
    if (this.ended || !this.token || this.socket) return;
    clearTimeout(this.later);
    const url = new URL("/inner/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({ thread: this.thread, token: this.token, page: this.page });
    const socket = (this.socket = new WebSocket(url));
    socket.onopen = () => {
      this.open = true;
      this.tries = 0;
      for (const event of this.unsent.values()) this.put(event);
      this.changed();
    };
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = () => socket === this.socket && this.lost();
  }

  lost() {
    this.socket = undefined;
    this.open = false;
    this.changed();
    const wait = WAITS_MS[Math.min(this.tries++, WAITS_MS.length - 1)];
    this.later = setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
  }

  // A new view is wanted: the simplest way to one is a new handshake.
  reopen() {
    this.socket?.close();
  }

  send(event, then) {
    const kept = { id: newId(), seq: ++this.seq, ...event };
    if (event.type === "draft") this.forget((one) => one.type === "draft");
    if (then) this.waiting.set(kept.id, then);
    this.unsent.set(kept.id, kept);
    this.save();
    this.put(kept);
    return kept.id;
  }

  put(event) {
    event.at = performance.now();
    if (this.open) this.socket.send(JSON.stringify(event, (key, value) => (key === "at" ? undefined : value)));
  }

  receive(message) {
    if (message.type !== "ack") return this.hear(message);
    const event = this.unsent.get(message.id);
    const then = this.waiting.get(message.id);
    if (message.again && event) {
      setTimeout(() => this.unsent.has(event.id) && this.put(event), AGAIN_MS);
    } else {
      this.unsent.delete(message.id);
      this.waiting.delete(message.id);
      this.save();
    }
    if (event) this.acked(event, message);
    if (!message.again) then?.(message);
  }

  // True where an event of this kind waits for its acknowledgement.
  keeps(...types) {
    return [...this.unsent.values()].some((event) => types.includes(event.type));
  }

  forget(which) {
    for (const event of this.unsent.values()) if (which(event)) this.unsent.delete(event.id);
    this.save();
  }

  save() {
    memory.write(this.box, this.unsent.size ? [...this.unsent.values()] : null);
  }

  look() {
    const now = performance.now();
    const slow = this.open && [...this.unsent.values()].some((event) => now - event.at > SLOW_MS);
    if (slow !== this.slow) {
      this.slow = slow;
      this.changed();
    }
  }

  end() {
    this.ended = true;
    clearInterval(this.watch);
    clearTimeout(this.later);
    removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.retry);
    this.socket?.close();
  }
}
