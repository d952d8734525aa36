// The fork: a reason, cards, and the ways to answer. Owns what is on the cards, which one is in focus, and the edit
// box. Knows nothing of keys and lines: it calls `answer(kind, option, text, via)`.

const PREFIX_LIMIT = 48; // all cards share these words: a few of them are enough
const PREFIX_SHOWN = 32;

function elided(prefix) {
  if (prefix.length <= PREFIX_LIMIT) return prefix;
  const end = prefix.slice(-PREFIX_SHOWN);
  return `… ${end.slice(end.indexOf(" ") + 1)}`;
}

// [words before the fork point, the words that differ]
function parted(text, prefix) {
  const before = prefix.trim();
  const from = text.length - text.trimStart().length;
  if (!before || !text.startsWith(before, from) || !text.slice(from + before.length).trim()) return ["", text];
  return [elided(before), text.slice(from + before.length)];
}

class Fork {
  constructor(root, answer) {
    this.section = root.querySelector(".fork");
    this.reason = root.querySelector(".reason");
    this.list = root.querySelector(".options");
    this.ahead = root.querySelector(".ahead");
    this.answers = root.querySelector(".answers");
    this.answer = answer;
    this.choir = new Choir();
    this.fork = null;
    this.answered = false;
    this.at = 0;
    root.querySelector(".edit").onclick = () => this.edit();
    root.querySelector(".none").onclick = (event) => this.answer("none", null, null, event.detail ? "click" : "key");
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.list.addEventListener("focusin", (event) => this.looked(event));
    this.list.addEventListener("pointerover", (event) => this.looked(event));
    this.list.addEventListener("keydown", (event) => this.typed(event));
  }

  get open() {
    return Boolean(this.fork) && !this.answered;
  }

  get seconds() {
    return Math.round(performance.now() - this.shownAt) / 1000;
  }

  show(fork) {
    if (fork?.id === this.fork?.id && !this.answered) return;
    const hadFocus = this.section.contains(this.section.getRootNode().activeElement);
    this.fork = fork;
    this.answered = false;
    this.at = 0;
    this.section.hidden = !fork;
    this.section.classList.remove("answered");
    this.list.replaceChildren(...(fork?.options ?? []).map((option) => this.card(option)));
    if (fork) {
      this.shownAt = performance.now();
      this.reason.textContent = this.why(fork);
      this.section.dataset.fork = fork.id;
      this.ahead.textContent = "";
      this.ahead.hidden = !fork.options.some((option) => option.ahead);
      this.answers.hidden = !fork.options.length;
    }
    return hadFocus;
  }

  why(fork) {
    if (!fork.options.length) return "No voice had words here. Say it yourself, or ask for another draw with X.";
    const reason = fork.reason || "The way forks here.";
    return fork.reopened ? `${reason} · open again` : reason;
  }

  card(option) {
    const [before, after] = parted(option.text, option.prefix);
    const text = el("span", "text", ...(before ? [el("span", "before", before)] : []), el("span", "after", after));
    const bar = el("i");
    bar.style.setProperty("--p", `${Math.round(option.p * 100)}%`);
    const share = el("span", "p", bar, option.p.toFixed(2).replace(/^0/, ""));
    share.setAttribute("role", "img");
    share.setAttribute("aria-label", `probability ${Math.round(option.p * 100)} percent`);
    const who = el("span", "who", ...option.voices.map((voice) => this.choir.tag(voice)));
    const button = el("button", "card", el("span", "key", String(option.key)), text, share, who);
    button.type = "button";
    button.dataset.option = option.id;
    button.title = option.text.trim();
    button.setAttribute("aria-keyshortcuts", String(option.key));
    this.choir.dress(button, option.voices[0]);
    return el("li", "", button);
  }

  // ---- looking, moving --------------------------------------------------------------------------------------

  cards() {
    return [...this.list.querySelectorAll(".card")];
  }

  looked(event) {
    const card = event.target.closest(".card");
    if (!card) return;
    this.at = this.cards().indexOf(card);
    if (!this.ahead.hidden) this.ahead.textContent = this.option(card)?.ahead ? `↳ ${this.option(card).ahead}` : "";
  }

  option(card) {
    return this.fork?.options.find((option) => option.id === card.dataset.option);
  }

  focus(step = 0) {
    const cards = this.cards();
    if (!cards.length) return;
    const now = cards.indexOf(this.section.getRootNode().activeElement);
    const next = now < 0 ? (step < 0 ? cards.length - 1 : step > 0 ? 0 : this.at) : (now + step + cards.length) % cards.length;
    cards[next].focus();
  }

  // ---- answering --------------------------------------------------------------------------------------------

  clicked(event) {
    const card = event.target.closest("button.card");
    if (card) this.take(card, event.detail ? "click" : "key");
  }

  takeKey(key) {
    const option = this.fork.options.find((one) => one.key === key);
    const card = option && this.cards().find((one) => one.dataset.option === option.id);
    if (card) this.take(card, "key");
  }

  take(card, via) {
    const option = this.option(card);
    if (this.open && option) this.answer("option", option, null, via);
  }

  // The answer is on its way: the cards stay where they are until the thread has moved.
  close(option) {
    this.answered = true;
    this.section.classList.add("answered");
    for (const card of this.cards()) {
      card.classList.toggle("chosen", card.dataset.option === option?.id);
      card.disabled = true;
    }
  }

  reopen() {
    this.answered = false;
    this.section.classList.remove("answered");
    for (const card of this.cards()) card.disabled = false;
  }

  edit() {
    const card = this.cards()[this.at] ?? this.cards()[0];
    if (!this.open || !card || card.classList.contains("editing")) return;
    const option = this.option(card);
    const box = el("textarea");
    box.value = option.text.trim();
    box.rows = 2;
    direct(box);
    box.setAttribute("aria-label", `Edit option ${option.key}`);
    const editor = el("div", "card editing", card.querySelector(".key").cloneNode(true), box, this.hint());
    editor.dataset.option = option.id;
    this.choir.dress(editor, option.voices[0]);
    card.replaceWith(editor);
    const fit = () => {
      box.style.height = "auto";
      box.style.height = `${box.scrollHeight}px`;
    };
    box.oninput = fit;
    fit();
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }

  hint() {
    const take = el("button", "act take", "take it ", el("kbd", "", "Enter"));
    const leave = el("button", "act leave", "leave it ", el("kbd", "", "Esc"));
    take.type = leave.type = "button";
    take.onclick = () => this.takeEdited(take.closest(".editing"));
    leave.onclick = () => this.putBack(leave.closest(".editing")).focus();
    return el("div", "hint", take, leave);
  }

  typed(event) {
    if (!isTextBox(event.target)) return;
    const editor = event.target.closest(".editing");
    if (!editor || event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.takeEdited(editor);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.putBack(editor).focus();
    }
  }

  putBack(editor) {
    const item = this.card(this.option(editor));
    editor.replaceWith(item.firstElementChild);
    return this.cards().find((card) => card.dataset.option === editor.dataset.option);
  }

  takeEdited(editor) {
    const option = this.option(editor);
    const text = whole(editor.querySelector("textarea").value).trim();
    if (!this.open || !text) return;
    if (text === option.text.trim()) this.take(this.putBack(editor), "key");
    else this.answer("edit", option, text, "text");
  }
}
