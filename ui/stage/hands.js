// Keys of the page. Owns which key means what, and when a key is none of ours.

const COMMANDS = new Set(["e", "x", "z"]);

class Hands {
  constructor(root, stage, signal) {
    this.root = root;
    this.stage = stage;
    // Before Streamlit: what is ours never reaches its shortcuts (C and R would clear and rerun).
    addEventListener("keydown", (event) => this.pressed(event), { capture: true, signal });
    // After a click the focus goes back to the page, so that Space is "stop" and not that button once more.
    root.addEventListener("click", (event) => {
      if (event.detail && event.target.closest(".act") && !event.target.closest(".keys, .ways")) this.rest();
    }, { signal });
  }

  rest() {
    const active = this.root.getRootNode().activeElement;
    if (!isTextBox(active)) this.root.focus({ preventScroll: true });
  }

  pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
    const path = event.composedPath();
    const target = path[0];
    const inside = path.includes(this.root);
    if (isTextBox(target) || this.stage.helpOpen) return;
    // Focus on something of Streamlit's (a link, a menu): its keys are its own.
    if (!inside && target !== document.body && target !== document.documentElement && target.closest?.("a, button, [role=menu], [role=dialog], section")?.matches("a, button, [role=menu], [role=dialog]")) return;
    if (this.command(event, inside && target.matches("button, a"))) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }

  // → true where the key was ours and is done with.
  command(event, onButton) {
    const { stage } = this;
    const key = event.key;
    const fork = stage.fork;
    if (onButton && (key === "Enter" || key === " ")) return false;
    if (key === "?") return stage.help(), true;
    if (key === " ") return event.repeat || stage.run(), true;
    if (fork.open) {
      if (/^[1-9]$/.test(key)) return event.repeat || fork.takeKey(Number(key)), true;
      if (key === "ArrowDown" || key === "ArrowUp") return fork.focus(key === "ArrowDown" ? 1 : -1), true;
      if (key === "Enter") return fork.focus(), true;
      if (key === "Escape" || key === "x") return event.repeat || stage.answer("none", null, null, "key"), true;
      if (key === "e") return fork.edit(), true;
    }
    if (key === "z") return event.repeat || stage.undo(), true;
    if (this.isLetter(key, fork.open)) {
      // The box has the focus before the key's text is put in: the browser types it there itself.
      stage.own.begin();
      event.stopImmediatePropagation();
    }
    return false;
  }

  isLetter(key, forkOpen) {
    if ([...key].length !== 1 || !/^[\p{L}\p{N}"'(¿¡«„“-]$/u.test(key)) return false;
    return !(forkOpen && COMMANDS.has(key));
  }
}
