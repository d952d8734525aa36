// The stream of thoughts. Owns the list, the live words under it, and the scroll position: the view follows the
// newest thought only while the person is at the bottom.

const NEAR_PX = 64;
const EDGE_PX = 14;
const KEEP = 400;
const TRIM_AT = 600;

class Stream {
  constructor(root, { ways, earlier }) {
    this.flow = root.querySelector(".flow");
    this.list = root.querySelector(".thoughts");
    this.speaking = root.querySelector(".speaking");
    this.more = root.querySelector(".earlier");
    this.newest = root.querySelector(".newest");
    this.choir = new Choir();
    this.human = "Me";
    this.before = 0;
    this.askWays = ways;
    this.more.onclick = () => earlier(this.list.firstElementChild?.dataset.id);
    this.newest.onclick = () => this.toEnd();
    this.flow.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest(".ways");
      if (button) this.toggleWays(button);
    });
  }

  scrolled() {
    if (this.atEnd()) this.newest.hidden = true;
    if (Math.abs(this.flow.scrollTop - (this.held ?? 0)) > NEAR_PX) this.held = undefined;
  }

  atEnd() {
    return this.flow.scrollHeight - this.flow.scrollTop - this.flow.clientHeight < NEAR_PX;
  }

  // To the newest; where it is taller than the page (a fork on a phone), to its beginning, which then counts as
  // the end until the person scrolls (`held`).
  toEnd(newest) {
    this.flow.scrollTop = this.flow.scrollHeight;
    const over = newest ? this.flow.getBoundingClientRect().top + EDGE_PX - newest.getBoundingClientRect().top : 0;
    if (newest && !newest.hidden && over > 0) this.flow.scrollTop -= over;
    this.held = this.atEnd() ? undefined : this.flow.scrollTop;
    this.newest.hidden = true;
  }

  // Change something and stay where the person was: at the end, or exactly here.
  follow(change, newest) {
    const end = this.atEnd() || this.held !== undefined;
    change();
    if (end) this.toEnd(newest);
    else if (!this.atEnd()) this.newest.hidden = false;
  }

  reset(thoughts, earlier) {
    this.list.replaceChildren(...thoughts.map((one) => this.item(one)));
    this.countEarlier(earlier);
    this.hush();
  }

  // → false where the path no longer fits what is shown.
  path(keep, thoughts) {
    const at = keep - this.before;
    if (at < 0 || at > this.list.children.length) return false;
    while (this.list.children.length > at) this.list.lastElementChild.remove();
    for (const one of thoughts) {
      const item = this.item(one);
      item.classList.add("arrived");
      this.list.append(item);
    }
    if (this.list.children.length > TRIM_AT && this.atEnd()) {
      const surplus = this.list.children.length - KEEP;
      for (let i = 0; i < surplus; i++) this.list.firstElementChild.remove();
      this.countEarlier(this.before + surplus);
    }
    return true;
  }

  prepend(thoughts, earlier) {
    const height = this.flow.scrollHeight;
    this.list.prepend(...thoughts.map((one) => this.item(one)));
    this.countEarlier(earlier);
    this.flow.scrollTop += this.flow.scrollHeight - height;
  }

  countEarlier(count) {
    this.before = count;
    this.more.hidden = count === 0;
    this.more.textContent = `${count} earlier thought${count === 1 ? "" : "s"}`;
  }

  item(thought) {
    const text = el("span", "text", thought.text);
    const item = el("li");
    item.dataset.id = thought.id;
    item.dataset.author = thought.author;
    const body = thought.human ? this.humanBody(text) : this.voiceBody(thought.author, text);
    if (thought.edited) body.querySelector(".voice, .me").append(" · edited by me");
    if (thought.entropy?.length === 2) {
      body.title = `entropy per token: mean ${thought.entropy[0]}, highest ${thought.entropy[1]} nats`;
    }
    if (thought.ways) body.append(this.waysButton());
    item.append(body);
    return item;
  }

  humanBody(text, pending = false) {
    return el("div", pending ? "human pending" : "human", text, el("span", "me", this.human.toLowerCase()));
  }

  voiceBody(author, text) {
    return this.choir.dress(el("div", "callout", this.choir.tag(author), text), author);
  }

  waysButton() {
    const button = el("button", "act ways", drawing("ways", ""));
    button.type = "button";
    button.title = "Other ways existed here";
    button.setAttribute("aria-label", "Other ways existed here: show them");
    button.setAttribute("aria-expanded", "false");
    return button;
  }

  async toggleWays(button) {
    const item = button.closest("li");
    const shown = item.querySelector(".untaken");
    button.setAttribute("aria-expanded", String(!shown));
    if (shown) return shown.remove();
    const ways = await this.askWays(item.dataset.id);
    if (item.querySelector(".untaken")) return;
    const rows = ways.map((way) => el("li", "", this.choir.tag(way.voices[0]), el("span", "text", way.text)));
    if (!rows.length) rows.push(el("li", "", el("span", "", "not taken"), el("span", "text", "nothing else was shown here")));
    this.follow(() => item.append(el("ul", "untaken", ...rows)));
  }

  speak({ voice, text, phase }) {
    const name = phase === "lead" ? "lead" : "aside";
    let item = [...this.speaking.children].find((one) => one.dataset.author === voice && one.className === name);
    if (!item) {
      const words = el("span", "text");
      item = el("li", name, ...(name === "lead" ? [this.voiceBody(voice, words)] : [this.choir.tag(voice), words]));
      item.dataset.author = voice;
      if (name === "lead") this.speaking.querySelectorAll(".lead").forEach((one) => one.remove());
      if (name === "lead") this.speaking.prepend(item);
      else this.speaking.append(item);
    }
    item.querySelector(".text").textContent = text;
  }

  // What was being said when the voices were stopped is not said; my own words stay on their way.
  unsay() {
    this.speaking.querySelectorAll(":scope > :not(.mine)").forEach((one) => one.remove());
  }

  // My words on their way into the thread.
  mine(text) {
    this.speaking.replaceChildren(el("li", "mine", this.humanBody(el("span", "text", text), true)));
  }

  hush() {
    this.speaking.replaceChildren();
  }
}
