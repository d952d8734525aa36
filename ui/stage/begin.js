// The first page. Owns the opening until a thread exists; an error leaves every word where it is.

const OPENING_BOX = "inner.opening";

class Begin {
  constructor(host) {
    this.root = host.querySelector(".begin");
    this.abort = new AbortController();
    this.box = this.root.querySelector(".opening");
    this.modes = this.root.querySelector(".modes");
    this.go = this.root.querySelector(".go");
    keepKeys(this.root, this.abort.signal);
    this.root.querySelector(".open").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.begin();
    });
    this.box.addEventListener("input", () => {
      direct(this.box);
      this.trouble("");
      memory.write(OPENING_BOX, this.box.value.length > 200_000 ? null : this.box.value);
    });
    this.modes.addEventListener("click", (event) => this.pick(event.target.closest("[data-mode]")));
    this.modes.addEventListener("keydown", (event) => this.rove(event));
    this.box.value = memory.read(OPENING_BOX) ?? "";
    direct(this.box);
  }

  tell(component) {
    this.component = component;
    this.data = component.data;
    this.root.dataset.theme = themeOf(this.root);
    if (this.modes.children.length !== this.data.modes.length) {
      this.modes.replaceChildren(...this.data.modes.map((mode) => this.word(mode)));
      this.pick(this.modes.firstElementChild);
      this.box.focus({ preventScroll: true });
    }
  }

  end() {
    this.abort.abort();
  }

  word(mode) {
    const button = el("button", "act", el("span", "", mode.title.toLowerCase()));
    button.type = "button";
    button.dataset.mode = mode.name;
    button.setAttribute("role", "radio");
    return button;
  }

  pick(button) {
    if (!button) return;
    for (const one of this.modes.children) {
      one.setAttribute("aria-checked", String(one === button));
      one.tabIndex = one === button ? 0 : -1;
    }
    this.mode = this.data.modes.find((mode) => mode.name === button.dataset.mode);
    this.box.placeholder = this.mode.placeholder;
    this.box.setAttribute("aria-label", this.mode.placeholder);
    this.root.querySelector(".what").textContent = this.mode.help;
  }

  rove(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...this.modes.children];
    const next = all[(all.indexOf(event.target.closest("[data-mode]")) + step + all.length) % all.length];
    this.pick(next);
    next.focus();
  }

  trouble(text) {
    this.root.querySelector(".trouble").textContent = text;
  }

  async begin() {
    if (this.going) return;
    const opening = whole(this.box.value);
    const limit = this.data.limit;
    if (/^[\p{Z}\p{C}]*$/u.test(opening)) return this.refuse("Write a few words first; one is enough.");
    if (opening.trim().length > limit) {
      return this.refuse(`That is ${opening.trim().length.toLocaleString("en")} characters; the limit is ${limit.toLocaleString("en")}. Nothing is lost: shorten it here, or begin with its first part.`);
    }
    this.going = this.go.disabled = true;
    this.id ??= newId();
    const answer = await post("/inner/begin", { token: this.data.token, id: this.id, mode: this.mode.name, opening });
    this.going = this.go.disabled = false;
    if (!answer.ok) return this.refuse(answer.message);
    this.id = undefined;
    memory.write(OPENING_BOX, null);
    this.box.value = "";
    lead(this.component, { thread: answer.thread });
  }

  refuse(message) {
    this.trouble(message);
    this.box.focus();
  }
}

export default function (component) {
  return once(component, (host) => new Begin(host));
}
