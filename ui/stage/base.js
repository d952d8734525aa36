// Shared by the components. Owns elements, shapes and colours of voices. Text from people and models reaches the
// page as text nodes only.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  square: "M2 2h12v12H2z",
  triangle: "M8 1.5 15.5 14.5H.5z",
  circle: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z",
  cross: "M5.75 1h4.5v4.75H15v4.5h-4.75V15h-4.5v-4.75H1v-4.5h4.75z",
  diamond: "M8 .5 15.5 8 8 15.5.5 8z",
  star: "M8 .7l2.2 4.9 5.3.5-4 3.6 1.2 5.2L8 12.2 3.3 14.9l1.2-5.2-4-3.6 5.3-.5z",
  hexagon: "M4.3 1.5h7.4L15.5 8l-3.8 6.5H4.3L.5 8z",
  ways: "M8 15V9.5M8 9.5C8 6 3.5 6.5 3.5 1.5M8 9.5C8 6 12.5 6.5 12.5 1.5",
};
const LEAD_MS = 3000;
const NEUTRAL = ["#5f5b57", "#b8b2aa"];

function el(tag, name = "", ...kids) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...kids);
  return element;
}

function drawing(shape, name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", name);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[shape] ?? SHAPES.diamond);
  svg.append(path);
  return svg;
}

class Choir {
  constructor(voices = []) {
    this.voices = new Map(voices.map((voice) => [voice.name, voice]));
  }
  dress(element, name) {
    const [light, dark] = this.voices.get(name)?.colour ?? NEUTRAL;
    element.dataset.voice = name;
    element.style.setProperty("--light", light);
    element.style.setProperty("--dark", dark);
    return element;
  }
  tag(name) {
    const shape = this.voices.get(name)?.shape ?? "diamond";
    return this.dress(el("span", "voice", drawing(shape, "glyph"), name), name);
  }
}

// Streamlit tells its theme by CSS variables only: a dark page is one whose background is dark.
function themeOf(element) {
  const colour = getComputedStyle(element).getPropertyValue("--st-background-color").trim();
  const hex = /^#([0-9a-f]{6})/i.exec(colour)?.[1];
  const parts = hex ? hex.match(/../g).map((pair) => parseInt(pair, 16)) : (colour.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return parts[0] * 0.3 + parts[1] * 0.59 + parts[2] * 0.11 < 128 ? "dark" : "light";
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function whole(text) {
  return text.toWellFormed ? text.toWellFormed() : text;
}

function isTextBox(target) {
  return target instanceof Element && target.matches("input, textarea, select, [contenteditable]");
}

// The direction of a box's text follows its words; on a pasted megabyte Chromium takes seconds to find it out.
const DIRECT_LIMIT = 50_000;
function direct(box) {
  box.dir = box.value.length > DIRECT_LIMIT ? "ltr" : "auto";
}

// A private window may refuse storage: then a reload forgets, nothing else.
const memory = {
  read(key) {
    try {
      return JSON.parse(sessionStorage.getItem(key) ?? "null");
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      if (value === null) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, JSON.stringify(value));
    } catch {
      return;
    }
  },
};

// POST to one of our routes. → {ok, ...answer}; a server that is away is an answer too.
async function post(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return { ok: answer.ok, ...(await answer.json()) };
  } catch {
    return { ok: false, message: "The interface lost its server. Your words are kept here; try again in a moment." };
  }
}

// Keys typed into our boxes are ours: outside the shadow root their target is the host, and Streamlit's own
// shortcuts (C, R) would take them for commands.
function keepKeys(root, signal) {
  for (const kind of ["keydown", "keyup", "keypress"]) {
    root.addEventListener(kind, (event) => isTextBox(event.composedPath()[0]) && event.stopPropagation(), { signal });
  }
}

// Lead to another screen. Streamlit does it in place; where it does not answer, the browser goes there.
function lead(component, to) {
  const query = new URLSearchParams(to).toString();
  const from = location.search;
  const late = performance.now() + LEAD_MS;
  component.setTriggerValue("open", to);
  const watch = setInterval(() => {
    const led = location.search !== from || new URLSearchParams(from).toString() === query;
    if (led || performance.now() > late) clearInterval(watch);
    if (!led && performance.now() > late) location.assign(query ? `/?${query}` : "/");
  }, 100);
}

// Streamlit calls a component again at every change of data or theme: it is made once, and then told.
function once(component, make) {
  const host = component.parentElement;
  host.innerMade ??= make(host);
  host.innerMade.tell(component);
  return () => {
    host.innerMade?.end();
    host.innerMade = undefined;
  };
}
