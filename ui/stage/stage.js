// The thread on the page. Owns what the parts tell each other; the parts own what they show.

const DOUBLE_MS = 350; // a second press so soon after an answer was meant for the fork before
const GRACE_MS = 600; // a connection that is back within this was never gone
const NOTE_MS = 7000;
const RING_MS = 1200;

class Stage {
  constructor(host) {
    this.root = host.querySelector(".stage");
    this.abort = new AbortController();
    this.$ = (name) => this.root.querySelector(name);
    this.stream = new Stream(this.root, { ways: (id) => this.ways(id), earlier: (id) => this.earlier(id) });
    this.fork = new Fork(this.root, (...answer) => this.answer(...answer));
    this.own = new Own(this.root, {
      say: (text) => this.say(text),
      draft: (text) => this.line.send({ type: "draft", text }),
      complain: (text) => this.note(text),
    });
    this.hands = new Hands(this.root, this, this.abort.signal);
    keepKeys(this.root, this.abort.signal);
    this.status = {};
    this.lastAnswer = -Infinity;
    this.wire();
  }

  tell(component) {
    const { data } = component;
    this.component = component;
    this.root.dataset.theme = themeOf(this.root);
    this.line ??= new Line(data.thread, {
      hear: (message) => this.hear(message),
      acked: (event, ack) => this.acked(event, ack),
      changed: () => this.connection(),
    });
    if (!this.title.value) this.title.value = data.title;
    this.line.token = data.token;
    this.line.connect();
  }

  end() {
    if (this.own.later) this.own.flush();
    clearTimeout(this.bell);
    this.abort.abort();
    this.line?.end();
  }

  wire() {
    this.title = this.$(".title");
    this.title.addEventListener("change", () => this.rename());
    this.title.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.title.value = this.status.title ?? "";
      if (event.key === "Enter" || event.key === "Escape") this.root.focus({ preventScroll: true });
    });
    this.$(".undo").onclick = () => this.undo();
    this.$(".run").onclick = () => this.run();
    this.$(".help").onclick = () => this.help();
    this.$(".close").onclick = () => this.$(".keys").close();
    this.$(".keys").addEventListener("click", (event) => event.target === this.$(".keys") && this.$(".keys").close());
    addEventListener("pagehide", () => this.own.later && this.own.flush(), { signal: this.abort.signal });
  }

  // ---- from the server --------------------------------------------------------------------------------------

  hear(message) {
    const { type } = message;
    if (type === "view") this.view(message);
    else if (type === "path") this.path(message);
    else if (type === "fork") this.stream.follow(() => this.showFork(message.fork), this.fork.section);
    else if (type === "choice") this.chosen(message);
    else if (type === "words") this.words(message);
    else if (type === "status") this.edges(message);
    else if (type === "note") this.note(message.text);
    else if (type === "gone") this.note("This thread is no longer there.");
  }

  view(view) {
    const first = !this.shown;
    const end = first || this.stream.atEnd();
    this.shown = view.thread;
    this.voices = view.voices;
    this.stream.choir = this.fork.choir = new Choir(view.voices);
    this.stream.human = view.thread.human;
    this.$(".mode").textContent = view.thread.mode_title.toLowerCase();
    this.stream.reset(view.thoughts, view.earlier);
    this.edges(view.status);
    this.showFork(view.fork);
    view.words.forEach((words) => this.stream.speak(words));
    const unsent = [...this.line.unsent.values()].findLast((event) => event.type === "draft");
    this.own.restore(unsent?.text ?? view.draft);
    if (end) this.stream.toEnd(this.fork.section);
    this.root.dataset.ready = "true";
  }

  path({ keep, thoughts }) {
    this.stream.follow(() => {
      this.stream.hush();
      if (!this.stream.path(keep, thoughts)) this.line.reopen();
      if (this.fork.answered) this.fork.show(null);
    });
    this.announce(thoughts.map((one) => `${one.author}: ${one.text}`).join("\n"));
    this.edges();
  }

  showFork(fork) {
    if (!fork && this.fork.answered && this.status.kept) return this.edges();
    if (fork) this.stream.hush();
    const hadFocus = this.fork.show(fork);
    if (hadFocus) this.root.focus({ preventScroll: true });
    if (fork && this.roving) this.fork.focus();
    if (Boolean(fork) !== this.rung) this.ring(Boolean(fork));
    if (fork) this.announce(`${this.fork.reason.textContent} ${fork.options.length} options.`);
    this.edges();
  }

  chosen({ fork, option, mine, text }) {
    if (this.fork.fork?.id === fork && !mine) {
      this.fork.close(this.fork.fork.options.find((one) => one.id === option));
      if (!this.line.keeps("choose")) this.note(text);
    }
  }

  words(words) {
    if (this.fork.open || this.status?.state === "resting") return;
    this.stream.follow(() => {
      if (this.fork.fork) this.fork.show(null);
      this.stream.speak(words);
    });
    this.edges();
  }

  edges(status = this.status) {
    this.status = status;
    if (!status.state) return;
    if (this.root.dataset.state !== status.state) this.stream.follow(() => (this.root.dataset.state = status.state));
    if (status.state === "resting") this.stream.unsay();
    if (this.root.getRootNode().activeElement !== this.title) this.title.value = status.title;
    this.$(".count").textContent = status.steps ? `asked ${status.asked} of ${status.steps}` : "";
    this.$(".undo").disabled = !status.undo;
    this.$(".run span").textContent = status.state === "thinking" ? "stop" : "go on";
    this.$(".run").disabled = status.state === "waiting";
    const choir = (this.voices ?? []).map(({ name }) => {
      const tag = this.stream.choir.tag(name);
      tag.dataset.state = status.voices[name] ?? "";
      if (tag.dataset.state === "silent" || tag.dataset.state === "gone") tag.title = `${name} is silent`;
      return tag;
    });
    this.$(".choir").replaceChildren(...choir);
    this.still();
    this.notice();
  }

  // The line under the last thought while nothing is being said there.
  still() {
    const { state, kept, remaining, detail } = this.status;
    const busy = this.fork.fork || this.stream.speaking.children.length;
    let text = "";
    if (!busy && kept === "none") text = "Another draw is coming, without these.";
    else if (!busy && state === "thinking") text = "…";
    else if (!busy && state === "paused") text = detail || "Paused.";
    else if (!busy) text = "The voices rest. Write something, or let them go on with Space.";
    this.$(".still").textContent = text;
    this.$(".still").hidden = Boolean(busy) || (!text && remaining > 0);
    this.own.placeholder(this.fork.open ? "or your own words" : "your own words");
  }

  // ---- to the server ----------------------------------------------------------------------------------------

  answer(kind, option, text, via) {
    const { fork } = this.fork;
    if (!this.fork.open || performance.now() - this.lastAnswer < DOUBLE_MS) return false;
    this.lastAnswer = performance.now();
    this.roving = via === "key" && (this.root.getRootNode().activeElement?.matches(".card") ?? false);
    const seconds = this.fork.seconds;
    this.fork.close(option);
    if (kind === "own") this.stream.follow(() => this.stream.mine(text));
    const event = { type: "choose", fork: fork.id, kind, option: option?.id ?? null, text, via, seconds, seen: fork.seen };
    this.line.send(event, (ack) => ack.ok || this.refused(fork, text));
    this.edges();
    return true;
  }

  // The answer did not stand. What was written is in the box again; the fork too, if it is still open.
  refused(fork, text) {
    this.stream.hush();
    if (text) this.own.giveBack(text);
    if (this.fork.fork?.id === fork.id && this.status.state === "waiting") this.fork.reopen();
    this.edges();
  }

  say(text) {
    if (this.fork.open) return this.answer("own", null, text, "text");
    this.stream.follow(() => this.stream.mine(text));
    this.line.send({ type: "say", text, expected_tip: this.status.tip ?? "" }, (ack) => {
      if (ack.ok) return;
      this.stream.hush();
      this.own.giveBack(text);
    });
    this.edges();
    return true;
  }

  undo() {
    if (!this.status.undo || this.line.keeps("undo")) return;
    this.lastAnswer = performance.now();
    this.line.send({ type: "undo", last: this.status.undo });
  }

  run() {
    if (this.status.state === "waiting" || !this.status.state) return;
    const stop = this.status.state === "thinking";
    this.line.send({ type: stop ? "stop" : "go" });
    this.edges({ ...this.status, state: stop ? "resting" : "thinking" });
  }

  rename() {
    const title = whole(this.title.value).trim();
    if (!title || title === this.status.title) {
      this.title.value = this.status.title ?? "";
      return;
    }
    this.status.title = title;
    this.line.send({ type: "rename", title }, (ack) => ack.ok && this.ring(this.rung));
  }

  // The list of threads is Streamlit's: ring for it, once things are calm. Never a choice on this wire, which loses
  // some events and doubles others.
  ring(waiting) {
    const first = this.rung === undefined;
    this.rung = waiting;
    clearTimeout(this.bell);
    if (!first) this.bell = setTimeout(() => this.component.setTriggerValue("bell", newId()), RING_MS);
  }

  ways(thought) {
    return new Promise((resolve) => this.line.send({ type: "ways", thought }, (ack) => resolve(ack.data.ways ?? [])));
  }

  earlier(before) {
    if (!before || this.line.keeps("earlier")) return;
    this.line.send({ type: "earlier", before }, (ack) => ack.ok && this.stream.prepend(ack.data.thoughts, ack.data.earlier));
  }

  acked(event, ack) {
    if (ack.message && !ack.ok) this.note(ack.message);
    else if (ack.message) this.note(ack.message);
    this.notice();
  }

  // ---- lines for the person ---------------------------------------------------------------------------------

  connection() {
    this.root.dataset.line = this.line.open ? "open" : "lost";
    clearTimeout(this.lostTimer);
    if (this.line.open) this.away = false;
    else this.lostTimer = setTimeout(() => ((this.away = true), this.notice()), GRACE_MS);
    this.notice();
  }

  note(text) {
    this.said = text;
    clearTimeout(this.noteTimer);
    this.noteTimer = setTimeout(() => ((this.said = ""), this.notice()), NOTE_MS);
    this.notice();
  }

  notice() {
    const { here = true, kept, line = "" } = this.status;
    let text = this.said || line;
    if (!here) text = kept || this.fork.answered ? "The orchestrator is restarting; your click is kept." : "The orchestrator is restarting; what you write is kept.";
    if (this.line?.slow) text = "The interface is slow to answer; your words are kept.";
    if (this.away) text = "The interface lost its server; it will reconnect, your words are kept.";
    if (this.$(".notice").textContent !== text) this.$(".notice").textContent = text;
  }

  announce(text) {
    this.$(".live").textContent = text;
  }

  get helpOpen() {
    return this.$(".keys").open;
  }

  help() {
    this.$(".keys").showModal();
    this.$(".close").focus();
  }
}

export default function (component) {
  return once(component, (host) => new Stage(host));
}
