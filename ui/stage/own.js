// Own words: the box that is always there. Owns the draft. Knows nothing of forks: it calls `say(text)`.

const DRAFT_MS = 400;
const LIMIT = 20000;

class Own {
  constructor(root, { say, draft, complain }) {
    this.form = root.querySelector(".own");
    this.box = root.querySelector(".words");
    this.sayIt = say;
    this.keepDraft = draft;
    this.complain = complain;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("pointerdown", (event) => {
      if (event.target === this.form) setTimeout(() => this.box.focus());
    });
    direct(this.box);
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => this.typed(event));
  }

  get text() {
    return whole(this.box.value);
  }

  placeholder(text) {
    if (this.box.placeholder !== text) this.box.placeholder = text;
  }

  typed(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.form.closest(".stage").focus({ preventScroll: true });
    }
  }

  changed() {
    direct(this.box);
    clearTimeout(this.later);
    this.later = setTimeout(() => this.flush(), DRAFT_MS);
  }

  flush() {
    clearTimeout(this.later);
    this.later = undefined;
    if (this.box.value.length <= LIMIT) this.keepDraft(this.text);
  }

  submit() {
    const text = this.text.trim();
    if (!text) return;
    if (text.length > LIMIT) {
      this.complain(`That is ${text.length.toLocaleString("en")} characters; the limit is ${LIMIT.toLocaleString("en")}. It is kept in the box.`);
      return;
    }
    clearTimeout(this.later);
    this.later = undefined;
    if (!this.sayIt(text)) return;
    this.box.value = "";
    // The next fork's keys work at once; a next letter comes back here by itself.
    this.form.closest(".stage").focus({ preventScroll: true });
  }

  // Words that could not be said come back, before whatever was written since.
  giveBack(text) {
    this.box.value = [text, this.box.value].filter(Boolean).join("\n");
    this.flush();
  }

  // A draft from the store, or from before a reload; what stands in the box wins.
  restore(draft) {
    if (!this.box.value && draft) this.box.value = draft;
  }

  begin() {
    this.box.focus();
  }
}
