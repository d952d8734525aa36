// A list of threads. Owns the lines, renaming in place, and which thread was asked for; leading there is Streamlit's.

class Shelf {
  constructor(host) {
    this.root = host.querySelector(".shelf");
    this.rows = this.root.querySelector(".rows");
    this.abort = new AbortController();
    keepKeys(this.root, this.abort.signal);
    this.rows.addEventListener("click", (event) => this.clicked(event));
    for (const name of [".above", ".below"]) {
      this.root.querySelector(name).addEventListener("click", (event) => this.follow(event));
    }
  }

  tell(component) {
    this.component = component;
    const { data } = component;
    this.root.dataset.theme = themeOf(this.root);
    const told = JSON.stringify(data);
    if (told === this.told) return;
    this.told = told;
    this.data = data;
    this.root.setAttribute("aria-label", data.name);
    this.root.classList.toggle("short", data.short);
    this.root.classList.toggle("full", !data.short && data.acts);
    this.root.querySelector(".head").textContent = data.head;
    for (const name of ["above", "below"]) {
      this.root.querySelector(`.${name}`).replaceChildren(...data[name].map((link) => el("li", "", this.plain(link))));
    }
    this.root.querySelector(".empty").textContent = data.empty;
    this.root.querySelector(".empty").hidden = data.threads.length > 0 || !data.empty;
    this.rows.replaceChildren(...data.threads.map((thread) => this.row(thread)));
  }

  end() {
    this.abort.abort();
  }

  row(thread) {
    const row = el("li", "", this.data.short ? this.shortLink(thread) : this.link(thread));
    row.dataset.thread = thread.id;
    if (this.data.acts) row.append(this.does(thread));
    return row;
  }

  anchor(to, ...kids) {
    const link = el("a", "go", ...kids);
    const query = new URLSearchParams(to).toString();
    link.href = query ? `/?${query}` : "/";
    link.target = "_self";
    link.dataset.to = JSON.stringify(to);
    return link;
  }

  plain({ label, to, current }) {
    const link = this.anchor(to, el("span", "title", label));
    if (current) link.setAttribute("aria-current", "page");
    return link;
  }

  shortLink(thread) {
    const dot = el("span", thread.waits ? "dot waits" : "dot");
    if (thread.waits) dot.append(el("span", "say-only", "a fork is waiting: "));
    const link = this.anchor({ thread: thread.id }, dot, el("span", "title", thread.title));
    link.title = thread.waits ? `${thread.title} (a fork is waiting)` : thread.title;
    if (thread.id === this.data.current) link.setAttribute("aria-current", "page");
    return link;
  }

  link(thread) {
    const facts = el("span", "facts", `${thread.mode} · ${thread.count} · ${thread.when}`);
    if (thread.waits) facts.prepend(el("span", "waits", drawing("ways", ""), "a fork is waiting"), " · ");
    return this.anchor({ thread: thread.id }, el("span", "title", thread.title), facts);
  }

  does(thread) {
    const names = this.data.archived ? ["restore"] : [...(thread.rests ? ["resume"] : []), "rename", "archive"];
    const buttons = names.map((name) => {
      const button = el("button", "act", name);
      button.type = "button";
      button.dataset.act = name;
      button.setAttribute("aria-label", `${name} “${thread.title}”`);
      return button;
    });
    return el("div", "does", ...buttons);
  }

  clicked(event) {
    const row = event.target.closest("li");
    const button = event.target.closest("[data-act]");
    if (button?.dataset.act === "rename") this.rename(row);
    else if (button) this.act(button.dataset.act, row.dataset.thread);
    else this.follow(event);
  }

  // A plain click stays in this page; with a modifier the browser opens it as it likes.
  follow(event) {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    lead(this.component, JSON.parse(link.dataset.to));
  }

  rename(row) {
    const thread = this.data.threads.find((one) => one.id === row.dataset.thread);
    const box = el("input", "rename");
    box.value = thread.title;
    box.maxLength = 200;
    box.setAttribute("aria-label", "New title");
    const done = (keep) => {
      box.onblur = null;
      row.replaceWith(this.row(thread));
      const title = whole(box.value).trim();
      if (keep && title && title !== thread.title) this.act("rename", thread.id, title);
    };
    box.onkeydown = (event) => {
      if (event.key === "Enter" && !event.isComposing) done(true);
      if (event.key === "Escape") done(false);
    };
    box.onblur = () => done(true);
    row.replaceChildren(box);
    box.focus();
    box.select();
  }

  async act(act, thread, title) {
    const answer = await post("/inner/threads", { token: this.data.token, act, thread, title: title ?? "" });
    this.root.querySelector(".trouble").textContent = answer.ok ? "" : answer.message;
    if (!answer.ok) return;
    if (act === "resume") lead(this.component, { thread });
    else this.component.setTriggerValue("bell", newId());
  }
}

export default function (component) {
  return once(component, (host) => new Shelf(host));
}
